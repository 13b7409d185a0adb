// SPDX-License-Identifier: Apache-2.0
// What the specification says of a case. Shares nothing with the compiler: outside addresses have identities of their
// own here, each with its full-length prefix, instead of one per prefix that policy names.
import { createOracle, type Judgement, type World } from '@cilium-ts/policy-oracle';
import type { PolicyCase, Setting } from './generate.ts';
import type { Peer, Probe } from './probe.ts';
import {
  ADDRESSES,
  CIDR_GROUPS,
  CLUSTER,
  judgedPod,
  NODE,
  PODS,
  RESERVED,
  SERVICES,
  securityLabels,
} from './universe.ts';

const OWN_NUMBERS = 0x02000000;
const NODE_LABELS = Object.entries(NODE.labels).map(([key, value]) => `k8s:${key}=${value}`);

function podLabels(identity: number): string[] {
  const pod = PODS.find((each) => each.identity === identity)!;
  return Object.entries(securityLabels(pod)).map(([key, value]) => `${key}=${value}`);
}

const IDENTITIES: ReadonlyMap<number, readonly string[]> = new Map<number, string[]>([
  ...PODS.map(({ identity }): [number, string[]] => [identity, podLabels(identity)]),
  ...RESERVED.map(({ identity, label }): [number, string[]] => [identity, [`reserved:${label}`]]),
  ...ADDRESSES.map((address, index): [number, string[]] => {
    const v6 = address.includes(':');
    return [
      OWN_NUMBERS + index,
      [`cidr:${address.replaceAll(':', '-')}/${v6 ? 128 : 32}`, `reserved:world-ipv${v6 ? 6 : 4}`],
    ];
  }),
]);

function identityOf({ identity, addresses }: Peer): number {
  return identity ?? OWN_NUMBERS + ADDRESSES.indexOf(addresses[0]!);
}

function subjectOf({ subject }: Setting): World['subject'] {
  if (subject === 'host') return { labels: NODE_LABELS, host: true, namedPorts: [] };
  const pod = judgedPod(subject);
  if (pod) return { labels: podLabels(pod.identity), host: false, namedPorts: pod.ports };
  return { labels: [`reserved:${subject}`], host: false, namedPorts: [] };
}

/** Asks the specification. */
export function specify({ setting, objects }: PolicyCase): (probe: Probe) => Judgement {
  const world: World = {
    mode: setting.mode,
    allowLocalhost: setting.allowLocalhost,
    hostFirewall: setting.hostFirewall,
    cluster: CLUSTER,
    identities: IDENTITIES,
    subject: subjectOf(setting),
    namedPorts: PODS.flatMap(({ ports }) => ports),
    services: SERVICES,
    cidrGroups: CIDR_GROUPS,
  };
  const oracle = createOracle(world, objects);
  return ({ direction, peer, protocol, port }) =>
    oracle.judge({ direction, identity: identityOf(peer), protocol, port });
}
