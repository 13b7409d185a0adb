// SPDX-License-Identifier: Apache-2.0
// Tested: damaged documents in NATS never reach the datapath, are told, and are fetched again until they are whole.
// How: a real nats-server, its buckets written by hand.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { Bucket, BusConnection } from '@cilium-ts/bus';
import { NatsServer } from '@cilium-ts/bus/testing';
import type { KubeClient } from '@cilium-ts/kube';
import {
  ACK_BUCKET,
  encodeRuleSet,
  encodeSubject,
  HEAD_KEY,
  POLICY_BUCKET,
  PolicyEngine,
  subjectKey,
  type NodeReport,
  type PolicyPublication,
} from '@cilium-ts/policy';
import { NatsPolicySource } from './nats.ts';

let server: NatsServer;
let writer: BusConnection;
let bucket: Bucket;
let acks: Bucket;
let source: NatsPolicySource;
let seen: PolicyPublication[];

async function until<T>(what: string, check: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = await check();
    if (value !== undefined) return value;
    if (Date.now() > end) throw new Error(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

beforeEach(async () => {
  server = await new NatsServer().start();
  const opened = Promise.withResolvers<void>();
  writer = new BusConnection({
    name: 'writer',
    addresses: () => [`127.0.0.1:${server.port}`],
    onSession: async (session) => {
      bucket = await Bucket.open(session, POLICY_BUCKET);
      acks = await Bucket.open(session, ACK_BUCKET);
      opened.resolve();
    },
  }).start();
  await opened.promise;
  seen = [];
  source = new NatsPolicySource({
    node: 'node1',
    log: silentLogger,
    url: `127.0.0.1:${server.port}`,
    service: 'unused/unused',
    client: {} as KubeClient,
    refetchMs: { first: 5, longest: 40 },
  });
});

afterEach(async () => {
  await source.stop();
  await writer.stop();
  await server.kill();
  server.wipe();
});

const head = (revision: number): Promise<number> =>
  bucket.put(HEAD_KEY, JSON.stringify({ epoch: 1, revision, leader: 'x' }));

function documents(): { key: string; text: string; subjectKey: string; subject: string } {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.compile();
  const [subject] = engine.state().subjects;
  return {
    key: `ruleset.${subject!.ruleSet}`,
    text: encodeRuleSet(engine.ruleSet(subject!.ruleSet)!),
    subjectKey: subjectKey(1, subject!.identity),
    subject: encodeSubject(subject!),
  };
}

const start = (): void => source.start((publication) => seen.push(publication));

test('a damaged rule set keeps what is in force, is told, and is fetched again until it is whole', async () => {
  await head(1);
  start();
  await until('the first publication', () => seen[0]);
  const { key, text, subjectKey, subject } = documents();
  await bucket.put(key, text.replace('"ingress":false', '"ingress":true'));
  await bucket.put(subjectKey, subject);
  await head(2);
  const damage = await until('the damage is told', () => source.state().damage);
  expect(damage).toContain(key);
  const report = await until('the report', async () => {
    const { value } = (await acks.get('node1')) ?? {};
    const told = value === undefined ? undefined : (JSON.parse(value) as NodeReport);
    return told?.error === undefined ? undefined : told;
  });
  expect(report.error).toContain(key);
  expect(seen).toHaveLength(1);
  // Written whole, without a new head: nothing but fetching again finds it.
  await bucket.put(key, text);
  const whole = await until('the publication is used', () => seen[1]);
  expect(whole).toMatchObject({ at: { epoch: 1, revision: 2 }, snapshot: true });
  expect(whole.ruleSets).toHaveLength(1);
  expect(source.state()).toMatchObject({ connected: true, detail: 'epoch 1 revision 2' });
  expect(source.state().damage).toBeUndefined();
});

test.each(['not JSON', '{"epoch":"one"}'])(
  'the damaged head %j says nothing until it is whole',
  async (text) => {
    await bucket.put(HEAD_KEY, text);
    start();
    expect(await until('the damage is told', () => source.state().damage)).toContain('head:');
    expect(seen).toEqual([]);
    await head(4);
    expect((await until('the publication', () => seen[0])).at.revision).toBe(4);
    expect(source.state().damage).toBeUndefined();
  },
);
