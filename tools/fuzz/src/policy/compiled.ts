// SPDX-License-Identifier: Apache-2.0
// What the compiler makes of a case: API objects through the same feed the compiler and the agent use.
import { parsePrefix, prefixContainsAddress } from '@cilium-ts/net';
import { formatProblems, PolicyEngine, PolicyFeed, ruleSetIdOf } from '@cilium-ts/policy';
import type { CidrIdentity, MapState, PolicyObject, RuleSet } from '@cilium-ts/policy';
import type { PolicyCase, Setting } from './generate.ts';
import type { Peer } from './probe.ts';
import {
  CIDR_GROUPS,
  CLUSTER,
  judgedPod,
  NODE,
  PODS,
  SERVICES,
  securityLabels,
  type Pod,
} from './universe.ts';

export interface Compiled {
  readonly ruleSet: RuleSet;
  /** The rule set with the identities of the universe: what a node writes into its map. */
  readonly state: MapState;
  readonly cidrs: readonly CidrIdentity[];
  /** The identity that traffic of a peer has. */
  identityOf(peer: Peer): number;
}

/** Of an address outside of every prefix. */
export const WORLD = 2;
const SUBJECTS = { web: 300, db: 301, twin: 301, health: 4, init: 5, host: 1 } as const;

/** The identity of the judged endpoint. */
export function subjectIdentity({ subject }: Setting): number {
  return SUBJECTS[subject];
}

/** What brings everything of the universe but policies into a feed, in any order. */
export function universe(feed: PolicyFeed, pods: readonly Pod[] = PODS): (() => unknown)[] {
  return [
    ...pods.map((pod) => () => addPod(feed, pod)),
    () => feed.upsertNode({ metadata: { name: NODE.name, labels: NODE.labels } }),
    ...SERVICES.flatMap(({ namespace, name, labels, selector, backends }) => {
      const metadata = { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } };
      const endpoints = backends.map((address) => ({ addresses: [address] }));
      return [
        () => feed.upsertService({ metadata: { namespace, name, labels }, spec: { selector } }),
        () => feed.upsertSlice({ metadata, endpoints }),
      ];
    }),
    ...CIDR_GROUPS.map(
      ({ name, labels, cidrs }) =>
        () =>
          feed.upsertCidrGroup({ metadata: { name, labels }, spec: { externalCIDRs: cidrs } }),
    ),
  ];
}

export function emptyEngine(setting: Setting): { engine: PolicyEngine; feed: PolicyFeed } {
  const { mode, allowLocalhost, hostFirewall } = setting;
  const engine = new PolicyEngine({ cluster: CLUSTER, mode, allowLocalhost, hostFirewall });
  return { engine, feed: new PolicyFeed(engine) };
}

/** Knows everything of the universe but policies. */
export function newEngine(
  setting: Setting,
  pods?: readonly Pod[],
): { engine: PolicyEngine; feed: PolicyFeed } {
  const made = emptyEngine(setting);
  universe(made.feed, pods).forEach((step) => step());
  return made;
}

function addPod(feed: PolicyFeed, pod: Pod): void {
  const metadata = { namespace: pod.namespace, name: pod.name };
  feed.upsertIdentity({
    metadata: { name: String(pod.identity) },
    'security-labels': securityLabels(pod),
  });
  feed.upsertEndpoint({ metadata, status: { identity: { id: pod.identity } } });
  const ports = pod.ports.map(({ name, protocol, port }) => ({ name, protocol, containerPort: port }));
  feed.upsertPod({ metadata, spec: { containers: [{ ports }] } });
}

/** @throws Error where an object of the case is not valid */
export function addPolicies(feed: PolicyFeed, objects: PolicyCase['objects']): void {
  for (const object of objects) {
    const { problems } = feed.upsertPolicy(object as PolicyObject & { metadata: object });
    if (problems.length > 0)
      throw new InvalidCase(`${object.metadata.name}: ${formatProblems([...problems])}`);
  }
}

/** The generator or the shrinker made an object that the API refuses. */
export class InvalidCase extends Error {}

/** What `setting`'s endpoint got; `identity` where the pods have other numbers. */
export function ruleSetOf(
  engine: PolicyEngine,
  setting: Setting,
  identity: number = subjectIdentity(setting),
): Compiled {
  const pod = judgedPod(setting.subject);
  const subject = engine.subject(identity);
  const own = setting.subject === 'host' ? NODE.name : pod && `${pod.namespace}/${pod.name}`;
  const id = subject && ruleSetIdOf(subject, own);
  const ruleSet = id === undefined ? undefined : engine.ruleSet(id);
  const state = id === undefined ? undefined : engine.mapState(id);
  if (!ruleSet || !state) throw new Error(`identity ${identity} has no rule set`);
  const { cidrs } = engine.state();
  return {
    ruleSet,
    state,
    cidrs,
    identityOf: (peer) => peer.identity ?? longestMatch(cidrs, peer.addresses[0]!),
  };
}

function longestMatch(cidrs: readonly CidrIdentity[], address: string): number {
  let best = { bits: 0, identity: WORLD };
  for (const { prefix, identity } of cidrs) {
    const parsed = parsePrefix(prefix)!;
    if (parsed.bits >= best.bits && prefixContainsAddress(parsed, address))
      best = { bits: parsed.bits, identity };
  }
  return best.identity;
}

/** @throws InvalidCase */
export function compile({ setting, objects }: PolicyCase): Compiled {
  const { engine, feed } = newEngine(setting);
  addPolicies(feed, objects);
  engine.compile();
  return ruleSetOf(engine, setting);
}
