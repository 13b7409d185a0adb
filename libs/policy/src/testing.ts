// SPDX-License-Identifier: Apache-2.0
// Generators of rules and flows around the edges where a compiled map can go wrong.
import fc from 'fast-check';
import type { Label } from '@cilium-ts/identity';
import { parseCiliumPolicy } from './parse-object.ts';
import { formatProblems } from './problem.ts';
import type { ParsedPolicy } from './rule.ts';

/** Parses an object that must be valid. @throws Error with its problems */
export function parsed(kind: 'cnp' | 'ccnp', name: string, spec: unknown, namespace = 'ns'): ParsedPolicy {
  const long = kind === 'cnp' ? 'CiliumNetworkPolicy' : 'CiliumClusterwideNetworkPolicy';
  const metadata = kind === 'cnp' ? { name, namespace } : { name };
  const result = parseCiliumPolicy({ kind: long, metadata, spec }, { cluster: 'default' });
  if (!result.ok) throw new Error(formatProblems(result.error));
  return result.value;
}

/** Labels of a pod. */
export function podLabels(namespace: string, labels: Readonly<Record<string, string>>): Label[] {
  const all = {
    ...labels,
    'io.kubernetes.pod.namespace': namespace,
    'io.cilium.k8s.policy.cluster': 'default',
  };
  return Object.entries(all).map(([key, value]) => ({ source: 'k8s', key, value }));
}

/** Pods of the generated world: a and b share namespace ns, c lives elsewhere. */
export const WORLD_PODS: readonly { id: number; labels: Label[] }[] = [
  { id: 300, labels: podLabels('ns', { app: 'a' }) },
  { id: 301, labels: podLabels('ns', { app: 'b' }) },
  { id: 302, labels: podLabels('other', { app: 'c' }) },
];

/** Ports around the edges of prefixes. */
export const EDGE_PORTS: readonly number[] = [
  1, 2, 3, 7, 8, 79, 80, 81, 1023, 1024, 8080, 32767, 32768, 65534, 65535,
];

const edgePort = fc.constantFrom(...EDGE_PORTS);
const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP', 'ANY');

const portSpec = fc.tuple(edgePort, edgePort, fc.boolean(), protocol).map(([a, b, range, proto]) => ({
  port: String(Math.min(a, b)),
  protocol: proto,
  ...(range ? { endPort: Math.max(a, b) } : {}),
}));

const peers = (side: 'from' | 'to'): fc.Arbitrary<Record<string, unknown>> =>
  fc.oneof(
    fc.constant({}),
    fc.constantFrom('a', 'b', 'c').map((app) => ({ [`${side}Endpoints`]: [{ matchLabels: { app } }] })),
    fc.constant({ [`${side}Endpoints`]: [{}] }),
    fc.constant({ [`${side}Endpoints`]: [] }),
    fc
      .constantFrom('all', 'world', 'cluster', 'host', 'remote-node', 'none')
      .map((entity) => ({ [`${side}Entities`]: [entity] })),
    fc
      .constantFrom('10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '0.0.0.0/0')
      .map((cidr) => ({ [`${side}CIDR`]: [cidr] })),
    fc.constant({ [`${side}CIDRSet`]: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] }),
  );

const ports = (deny: boolean): fc.Arbitrary<Record<string, unknown>> => {
  const plain = fc
    .array(portSpec, { minLength: 1, maxLength: 3 })
    .map((list) => ({ toPorts: [{ ports: list }] }));
  const icmp = fc
    .constantFrom(0, 8, 128)
    .map((type) => ({ icmps: [{ fields: [{ type, family: 'IPv4' }] }] }));
  const l7 = edgePort.map((port) => ({
    toPorts: [{ ports: [{ port: String(port), protocol: 'TCP' }], rules: { http: [{ method: 'GET' }] } }],
  }));
  const none = fc.constant({});
  return deny ? fc.oneof(none, plain, icmp) : fc.oneof(none, plain, icmp, l7);
};

const item = (side: 'from' | 'to', deny: boolean): fc.Arbitrary<object> =>
  fc.tuple(peers(side), ports(deny)).map(([peer, port]) => ({ ...peer, ...port }));

const list = (side: 'from' | 'to', deny: boolean): fc.Arbitrary<object[]> =>
  fc.array(item(side, deny), { maxLength: 2 });

/** One rule with at least one item. */
export const ruleSpec: fc.Arbitrary<Record<string, unknown>> = fc
  .record({
    endpointSelector: fc.constantFrom({}, { matchLabels: { app: 'a' } }, { matchLabels: { app: 'b' } }),
    ingress: list('from', false),
    ingressDeny: list('from', true),
    egress: list('to', false),
    egressDeny: list('to', true),
    enableDefaultDeny: fc.constantFrom({}, {}, { ingress: false }, { egress: false, ingress: false }),
  })
  .filter(
    (spec) => spec.ingress.length + spec.ingressDeny.length + spec.egress.length + spec.egressDeny.length > 0,
  );
