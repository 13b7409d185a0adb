// SPDX-License-Identifier: Apache-2.0
// What one new identity costs: the selectors that select it, the entries of rule sets on a node, and in a running cluster the
// time from the object to the entries in the kernel's maps.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { policyMap, PolicyPrefix, TrafficDirection, type PolicyEntry, type PolicyKey } from '@cilium-ts/abi';
import { OuterMap, type BpfMap } from '@cilium-ts/bpf';
import { CILIUM_IDENTITIES, CILIUM_NETWORK_POLICIES } from '@cilium-ts/kube';
import { loadNative } from '@cilium-ts/native';
import { SelectorCache } from '@cilium-ts/policy';
import { benchRow, median, percentile, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { createPod, allReady, processesWith, withCluster, type BenchCluster } from './cluster.ts';
import { engineFor } from './policy-compile.ts';
import { labelPolicies, peerIdentities, SUBJECT_IDENTITY } from './policy-inputs.ts';

const FIRST_IDENTITY = 60_000;
const GIVE_UP_MS = 10_000;
const NODE = 'node1';

/** Milliseconds to take one identity out and in again, with one selector that selects all. */
export function selectorStep(identities: number, rounds: number): number {
  const cache = new SelectorCache();
  const peers = peerIdentities(identities, true);
  for (const [id, labels] of peers) cache.update(id, labels);
  cache.select([]);
  const [id, labels] = peers[Math.floor(peers.length / 2)]!;
  return median(
    Array.from({ length: rounds }, () => {
      const start = performance.now();
      cache.update(id, undefined);
      cache.update(id, labels);
      return performance.now() - start;
    }),
  );
}

/** Milliseconds for the entries of one new identity in `sets` rule sets of `rules` rules each. */
export function mapStep(rules: number, sets: number, rounds: number): number {
  const engine = engineFor(labelPolicies(rules, 'ingress'), []);
  const id = engine.subject(SUBJECT_IDENTITY)!.ruleSet;
  const states = Array.from({ length: sets }, () => engine.mapState(id)!);
  return median(
    Array.from({ length: rounds }, (_, round) => {
      const present = round % 2 === 0;
      const start = performance.now();
      for (const state of states) state.update(9999, () => present);
      return performance.now() - start;
    }),
  );
}

const rule = (i: number): object => ({ fromEndpoints: [{ matchLabels: { peer: '', [`r${i % 100}`]: '' } }] });

/** Pods with a rule set each: all the common rules, and one of its own. */
async function isolatedPods(cluster: BenchCluster, pods: number, rules: number): Promise<void> {
  const { client, namespace } = cluster;
  const policy = (name: string, spec: object): Promise<unknown> =>
    client.create(CILIUM_NETWORK_POLICIES, { metadata: { name, namespace }, spec } as never);
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
  await policy('common', { endpointSelector: {}, ingress: numbers(rules).map(rule) });
  for (const at of numbers(pods)) {
    const endpointSelector = { matchLabels: { pod: `p${at}` } };
    await policy(`own-${at}`, {
      endpointSelector,
      ingress: [{ fromEndpoints: [{ matchLabels: { own: `p${at}` } }] }],
    });
    await createPod(cluster, { name: `p${at}`, node: NODE, labels: { pod: `p${at}` } });
  }
  await allReady(cluster, pods);
}

/** The policy map of the node's agent, by its pin. */
function openPolicyMap(): OuterMap<number, PolicyKey, PolicyEntry> {
  for (const pid of processesWith('/usr/lib/cilium-ts/apps/agent.cjs')) {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    if (!environment.includes(`K8S_NODE_NAME=${NODE}`)) continue;
    const path = `/proc/${pid}/root/sys/fs/bpf/tc/globals/${policyMap.name}`;
    return OuterMap.openPinned(loadNative(), path, policyMap);
  }
  throw new Error(`no agent of ${NODE} runs`);
}

type Inner = BpfMap<PolicyKey, PolicyEntry>;

const keyOf = (identity: number): PolicyKey => ({
  prefixlen: PolicyPrefix.POLICY_PREFIX_L3,
  identity,
  direction: TrafficDirection.DIR_INGRESS,
  protocol: 0,
  port: 0,
});

function createIdentity({ client, namespace }: BenchCluster, id: number): Promise<unknown> {
  const rules = Object.fromEntries([0, 1, 2].map((at) => [`k8s:r${(id + at) % 100}`, '']));
  return client.create(CILIUM_IDENTITIES, {
    metadata: { name: String(id) },
    'security-labels': {
      ...rules,
      'k8s:peer': '',
      'k8s:io.kubernetes.pod.namespace': namespace,
      'k8s:io.cilium.k8s.policy.cluster': 'default',
      'k8s:bench': String(id),
    },
  } as never);
}

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + GIVE_UP_MS;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${GIVE_UP_MS} ms`);
    await delay(0.5);
  }
}

/** The inner maps of the pods: those that learn a first identity. */
async function mapsOf(cluster: BenchCluster, count: number): Promise<Inner[]> {
  const outer = openPolicyMap();
  const numbers = (await outer.entries()).map(([number]) => number);
  const maps = numbers.flatMap((number) => outer.openInner(number) ?? []);
  outer.close();
  await createIdentity(cluster, FIRST_IDENTITY);
  const known = (map: Inner): boolean => map.get(keyOf(FIRST_IDENTITY)) !== undefined;
  await until(`${count} maps that know an identity`, () => maps.filter(known).length >= count);
  const wanted = maps.filter(known);
  for (const map of maps) if (!wanted.includes(map)) map.close();
  return wanted;
}

/** Milliseconds from the call that creates an identity until all maps have it. */
async function objectToMap(cluster: BenchCluster, maps: readonly Inner[], count: number): Promise<number[]> {
  const times: number[] = [];
  for (let at = 1; at <= count; at++) {
    const key = keyOf(FIRST_IDENTITY + at);
    const start = performance.now();
    await createIdentity(cluster, FIRST_IDENTITY + at);
    await until('the entries', () => maps.every((map) => map.get(key) !== undefined));
    times.push(performance.now() - start);
  }
  return times;
}

async function inCluster(cluster: BenchCluster, options: BenchOptions): Promise<BenchRow[]> {
  const [pods, rules, count] = options.small ? [2, 50, 5] : [30, 1000, 200];
  options.log(`${pods} pods, ${rules} rules`);
  await isolatedPods(cluster, pods, rules);
  await delay(options.small ? 0 : 3000);
  const maps = await mapsOf(cluster, pods);
  options.log(`${count} identities into ${maps.length} maps`);
  try {
    const times = await objectToMap(cluster, maps, count);
    const name = `one identity added, ${rules} rules, ${maps.length} rule sets: object to all maps`;
    return [
      benchRow({ case: `${name}, p50`, unit: 'ms', ours: median(times), better: 'lower' }),
      benchRow({ case: `${name}, p99`, unit: 'ms', ours: percentile(times, 99), better: 'lower', goal: 20 }),
    ];
  } finally {
    for (const map of maps) map.close();
    for (let at = 0; at <= count; at++)
      await cluster.client
        .delete(CILIUM_IDENTITIES, { name: String(FIRST_IDENTITY + at) })
        .catch(() => undefined);
  }
}

async function run(options: BenchOptions): Promise<BenchRow[]> {
  const rounds = options.small ? 5 : 201;
  const identities = options.small ? 100 : 10_000;
  const steps = [
    benchRow({
      case: `selector step, ${identities} identities: one out and in again`,
      unit: 'ms',
      ours: selectorStep(identities, rounds),
      better: 'lower',
      goal: 0.3,
    }),
    benchRow({
      case: 'map step, one identity in 30 rule sets of 1000 rules',
      unit: 'ms',
      ours: mapStep(options.small ? 20 : 1000, 30, rounds),
      better: 'lower',
    }),
  ];
  const needs = { log: options.log, startOptions: ['--no-demo'] };
  return [...steps, ...(await withCluster(needs, (cluster) => inCluster(cluster, options)))];
}

export const policyChurn: Bench = {
  name: 'policy-churn',
  summary:
    'one new identity: selectors, entries of rule sets, and from the object to the kernel in a cluster',
  run,
};
