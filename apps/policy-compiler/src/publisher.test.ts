// SPDX-License-Identifier: Apache-2.0
// Tested: of two compilers that think they lead, only the newer one's words come into force. How: two publishers and a
// reader on a real nats-server; the first goes on as if nothing had happened, as a process does that was stopped meanwhile.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { silentLogger, systemClock } from '@cilium-ts/base';
import { Bucket, BusConnection } from '@cilium-ts/bus';
import { NatsServer } from '@cilium-ts/bus/testing';
import {
  POLICY_BUCKET,
  PolicyEngine,
  PublicationReader,
  type EngineState,
  type PolicyPublication,
} from '@cilium-ts/policy';
import { parsed, podLabels } from '@cilium-ts/policy/testing';
import { Publisher } from './publisher.ts';

let server: NatsServer;
let bus: BusConnection;
let bucket: Bucket;

beforeAll(async () => {
  server = await new NatsServer().start();
  const opened = Promise.withResolvers<void>();
  bus = new BusConnection({
    name: 'test',
    addresses: () => [`127.0.0.1:${server.port}`],
    onSession: async (session) => {
      bucket = await Bucket.open(session, POLICY_BUCKET);
      opened.resolve();
    },
  }).start();
  await opened.promise;
});

afterAll(async () => {
  await bus.stop();
  await server.kill();
  server.wipe();
});

/** One pod that may open connections to this prefix only. */
function stateOf(prefix: string): EngineState {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.upsertIdentity(300, podLabels('ns', { app: 'a' }));
  engine.upsertPolicy(parsed('cnp', 'p', { endpointSelector: {}, egress: [{ toCIDR: [prefix] }] }));
  engine.compile();
  return engine.state();
}

/** What a node that joins now would believe. */
async function joining(): Promise<PolicyPublication> {
  const seen: PolicyPublication[] = [];
  const reader = new PublicationReader(
    (publication) => seen.push(publication),
    (_, problem) => {
      throw new Error(problem);
    },
  );
  reader.snapshot(await bucket.entries());
  return seen[0]!;
}

test('a deposed leader changes nothing that is in force, deletes nothing, and cannot take the lead back', async () => {
  const heard: PolicyPublication[] = [];
  const problems: string[] = [];
  const reader = new PublicationReader(
    (publication) => heard.push(publication),
    (_, problem) => problems.push(problem),
  );
  await bucket.watch({
    onSnapshot: (entries) => reader.snapshot(entries),
    onChange: (entry) => reader.change(entry),
  });
  const first = new Publisher('first', systemClock, silentLogger);
  const second = new Publisher('second', systemClock, silentLogger);
  await first.attach(bucket, true);
  await first.publish(stateOf('10.1.0.0/16'));
  await second.attach(bucket, true);
  expect(second.at.epoch).toBeGreaterThan(first.at.epoch);
  // The second has claimed the lead and not spoken yet: what the first still says makes it look again before it speaks.
  await expect(
    first.publish(stateOf('10.9.0.0/16')).then(() => second.publish(stateOf('10.2.0.0/16'))),
  ).rejects.toThrow('someone else wrote it');
  await second.attach(bucket, false);
  await second.publish(stateOf('10.2.0.0/16'));
  await expect(first.publish(stateOf('10.8.0.0/16'))).rejects.toThrow('someone else wrote it');
  await expect(first.attach(bucket, false)).rejects.toThrow(/epoch \d+ leads, ours is \d+/);
  const wanted = stateOf('10.2.0.0/16');
  const now = await joining();
  expect(now.at).toEqual(second.at);
  expect(now.cidrs.map(({ prefix }) => prefix)).toEqual(['10.2.0.0/16']);
  expect(now.subjects).toEqual(wanted.subjects);
  expect(now.ruleSets.map(({ id }) => id)).toEqual(
    expect.arrayContaining(wanted.subjects.map((s) => s.ruleSet)),
  );
  while (heard.at(-1)?.at.revision !== second.at.revision)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(heard.flatMap(({ cidrs }) => cidrs.map(({ prefix }) => prefix))).toEqual([
    '10.1.0.0/16',
    '10.9.0.0/16',
    '10.2.0.0/16',
  ]);
  expect(heard.at(-1)).toMatchObject({ at: second.at, removedCidrs: ['10.9.0.0/16'] });
  expect(problems).toEqual([]);
  // Elected again it leads with an epoch of its own, and what the other wrote is gone from the bucket.
  await first.attach(bucket, true);
  await first.publish(stateOf('10.3.0.0/16'));
  expect(first.at.epoch).toBeGreaterThan(second.at.epoch);
  expect((await joining()).cidrs.map(({ prefix }) => prefix)).toEqual(['10.3.0.0/16']);
});
