// SPDX-License-Identifier: Apache-2.0
// A thread of simulated nodes: each has the agent's subscription and rule-set code, all but the write into the kernel, and
// acknowledges as an agent does.
import { parentPort, workerData } from 'node:worker_threads';
import { silentLogger } from '@cilium-ts/base';
import { Bucket, BusConnection } from '@cilium-ts/bus';
import {
  ACK_BUCKET,
  MapState,
  POLICY_BUCKET,
  PublicationReader,
  SelectorCache,
  type NodeReport,
  type PolicyPublication,
} from '@cilium-ts/policy';
import { peerIdentities } from './policy-inputs.ts';

/** What the thread is told. */
export interface NodesTask {
  readonly natsUrl: string;
  readonly names: readonly string[];
  /** How many identities there are; each node hosts a few of them. */
  readonly identities: number;
}

const LOCAL_IDENTITIES = 5;
const { natsUrl, names, identities } = workerData as NodesTask;
let bytes = 0;

/** One cache for the thread: on a real node it is the node's, and grows only with identities. */
const cache = new SelectorCache();
const known = peerIdentities(identities, false);
for (const [id, labels] of known) cache.update(id, labels);

function startNode(name: string, index: number): void {
  const local = new Set(
    Array.from(
      { length: LOCAL_IDENTITIES },
      (_, at) => known[(index * LOCAL_IDENTITIES + at) % known.length]![0],
    ),
  );
  let acks: Bucket | undefined;
  const states = new Map<string, MapState>();
  const realise = (publication: PolicyPublication): void => {
    const documents = new Map(publication.ruleSets.map((ruleSet) => [ruleSet.id, ruleSet]));
    for (const { identity, ruleSet } of publication.subjects) {
      const document = local.has(identity) ? documents.get(ruleSet) : undefined;
      if (document) states.set(ruleSet, new MapState(document, (selector) => cache.select(selector)));
    }
    const report: NodeReport = { node: name, ...publication.at };
    void acks?.put(name, JSON.stringify(report)).catch(() => undefined);
  };
  const reader = new PublicationReader(realise, (_, problem) => {
    throw new Error(`${name}: ${problem}`);
  });
  new BusConnection({
    name,
    addresses: () => [natsUrl],
    log: silentLogger,
    onSession: async (session) => {
      acks = await Bucket.open(session, ACK_BUCKET);
      const bucket = await Bucket.open(session, POLICY_BUCKET);
      await bucket.watch({
        onSnapshot: (entries) => reader.snapshot(entries),
        onChange: (entry) => {
          bytes += entry.key.length + (entry.value?.length ?? 0);
          reader.change(entry);
        },
      });
      parentPort!.postMessage('ready');
    },
    onLost: () => (acks = undefined),
  }).start();
}

names.forEach(startNode);
parentPort!.on('message', () => parentPort!.postMessage({ bytes }));
