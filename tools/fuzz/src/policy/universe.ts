// SPDX-License-Identifier: Apache-2.0
// The small world in which random policies live: few identities, nested prefixes, ports around the edges of prefixes.
import type { CidrGroup, NamedPort, Service } from '@cilium-ts/policy-oracle';

export const CLUSTER = 'home';

/** The node whose host the host firewall guards. */
export const NODE = { name: 'node-1', labels: { role: 'edge' } };

export interface Pod {
  readonly identity: number;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cluster: string;
  readonly ports: readonly NamedPort[];
  readonly ipv4: string;
  readonly ipv6: string;
}

function pod(identity: number, place: string, app: string, ports: NamedPort[] = [], cluster = CLUSTER): Pod {
  const last = identity - 290;
  return {
    identity,
    namespace: place,
    name: `${app}-${identity}`,
    labels: { app, tier: app === 'web' ? 'front' : 'back' },
    cluster,
    ports,
    ipv4: `10.244.2.${last}`,
    ipv6: `fd00:10:244:2::${last}`,
  };
}

/** No rule names the last two pods: one is only ever matched by wide selectors, one is of another cluster. */
export const PODS: readonly Pod[] = [
  pod(300, 'one', 'web', [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 53 },
    { name: 'twice', protocol: 'TCP', port: 1023 },
  ]),
  pod(301, 'one', 'db', [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'pg', protocol: 'TCP', port: 1024 },
    { name: 'twice', protocol: 'TCP', port: 8 },
  ]),
  // The same identity with other ports.
  {
    ...pod(301, 'one', 'db', [
      { name: 'http', protocol: 'TCP', port: 8081 },
      { name: 'pg', protocol: 'TCP', port: 1024 },
      { name: 'lost', protocol: 'UDP', port: 79 },
    ]),
    name: 'db-twin',
    ipv4: '10.244.2.99',
    ipv6: 'fd00:10:244:2::99',
  },
  pod(302, 'two', 'web'),
  pod(303, 'three', 'other'),
  pod(304, 'one', 'web', [], 'away'),
];

const JUDGED: Readonly<Record<string, string>> = { web: 'web-300', db: 'db-301', twin: 'db-twin' };

/** The pod that stands for a subject; undefined for those that are no pods. */
export function judgedPod(subject: string): Pod | undefined {
  return PODS.find(({ name }) => name === JUDGED[subject]);
}

export function securityLabels({ namespace, labels, cluster }: Pod): Record<string, string> {
  return {
    ...Object.fromEntries(Object.entries(labels).map(([key, value]) => [`k8s:${key}`, value])),
    'k8s:io.kubernetes.pod.namespace': namespace,
    'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name': namespace,
    'k8s:io.cilium.k8s.namespace.labels.team': namespace === 'two' ? 'blue' : 'red',
    'k8s:io.cilium.k8s.policy.cluster': cluster,
  };
}

/** Reserved identities that packets can have, with an address for those that one stands for. */
export const RESERVED: readonly { identity: number; label: string; ipv4: string; ipv6: string }[] = [
  { identity: 1, label: 'host', ipv4: '192.168.77.1', ipv6: 'fd77::1' },
  { identity: 4, label: 'health', ipv4: '10.244.2.200', ipv6: 'fd00:10:244:2::200' },
  { identity: 6, label: 'remote-node', ipv4: '192.168.77.2', ipv6: 'fd77::2' },
  { identity: 8, label: 'ingress', ipv4: '10.244.2.201', ipv6: 'fd00:10:244:2::201' },
];

/** Addresses outside the cluster, one inside each prefix only and one outside all. */
export const ADDRESSES: readonly string[] = [
  '172.16.9.9',
  '172.20.9.9',
  '172.20.1.9',
  '172.20.1.1',
  '192.0.2.7',
  '203.0.113.9',
  'fd01:9::9',
  'fd01:1::9',
  'fd01:1::5',
  '2001:db8::9',
];

export const PREFIXES: readonly string[] = [
  '0.0.0.0/0',
  '172.16.0.0/12',
  '172.20.0.0/16',
  '172.20.1.0/24',
  '172.20.1.1/32',
  '192.0.2.0/24',
  '::/0',
  'fd01::/16',
  'fd01:1::/32',
  'fd01:1::5/128',
];

/** A prefix and those strictly inside it, for exceptions. */
export const NESTED: readonly (readonly [string, readonly string[]])[] = [
  ['0.0.0.0/0', ['172.16.0.0/12', '172.20.1.0/24', '192.0.2.0/24']],
  ['172.16.0.0/12', ['172.20.0.0/16', '172.20.1.0/24', '172.20.1.1/32']],
  ['172.20.0.0/16', ['172.20.1.0/24', '172.20.1.1/32']],
  ['::/0', ['fd01::/16', 'fd01:1::5/128']],
  ['fd01::/16', ['fd01:1::/32', 'fd01:1::5/128']],
];

export const SERVICES: readonly Service[] = [
  {
    namespace: 'one',
    name: 'db',
    labels: { expose: 'yes' },
    selector: { app: 'db' },
    backends: ['10.244.2.11'],
  },
  { namespace: 'two', name: 'web', labels: { expose: 'no' }, selector: { app: 'web' }, backends: [] },
  { namespace: 'two', name: 'bare', labels: { expose: 'yes' }, backends: ['172.20.1.1', '192.0.2.7'] },
  { namespace: 'one', name: 'empty', labels: {}, backends: [] },
];

export const CIDR_GROUPS: readonly CidrGroup[] = [
  { name: 'office', labels: { site: 'x' }, cidrs: ['172.20.0.0/16', 'fd01:1::/32'] },
  { name: 'home', labels: { site: 'x', kind: 'private' }, cidrs: ['192.0.2.0/24', 'rubbish'] },
  { name: 'void', labels: {}, cidrs: [] },
];

export const EDGE_PORTS: readonly number[] = [
  0, 1, 2, 3, 7, 8, 53, 79, 80, 81, 1023, 1024, 8079, 8080, 8081, 32767, 32768, 65534, 65535,
];
export const ICMP_TYPES: readonly number[] = [0, 3, 8, 13];
export const ICMPV6_TYPES: readonly number[] = [1, 3, 128, 129];
