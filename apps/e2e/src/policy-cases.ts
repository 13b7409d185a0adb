// SPDX-License-Identifier: Apache-2.0
// The connectivity list: policies of a namespace with pods `client` and `client2` (label other=client), `echo` and `echo-other`
// (label kind=echo) that serve 8080 and 9090, and what must pass under them.

/** Why something is dropped, as a flow says it, with the direction it is told for. */
export type Drop =
  'POLICY_DENIED EGRESS' | 'POLICY_DENIED INGRESS' | 'POLICY_DENY EGRESS' | 'POLICY_DENY INGRESS';

export interface Probe {
  readonly from: string;
  /** A pod, `world`, `host` or `remote-node`. */
  readonly to: string;
  readonly port: number | 'ping';
  /** Absent: it passes. */
  readonly drop?: Drop;
}

export interface Case {
  readonly name: string;
  readonly policies: (namespace: string) => readonly string[];
  readonly probes: readonly Probe[];
}

const CLIENT = '{matchLabels: {name: client}}';
const CLIENT2 = '{matchLabels: {other: client}}';
const CLIENTS = '{matchLabels: {kind: client}}';
const ECHO = '{matchLabels: {kind: echo}}';
const AGENT_METRICS = 9962;

type Make = (namespace: string) => string;

const cnp =
  (name: string, spec: string): Make =>
  (namespace) =>
    `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec:\n${indent(spec)}`;

const ccnp =
  (name: string, spec: string): Make =>
  (namespace) =>
    `apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: ${name}-${namespace}}\nspec:\n${indent(spec.replaceAll('LANE', namespace))}`;

const knp =
  (name: string, spec: string): Make =>
  (namespace) =>
    `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec:\n${indent(spec)}`;

const group =
  (labels: string, cidr: string): Make =>
  (namespace) =>
    `apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: outside-${namespace}, labels: {${labels}}}\nspec: {externalCIDRs: ["${cidr}"]}\n`;

function indent(text: string): string {
  return text
    .trim()
    .split('\n')
    .map((line) => `  ${line}\n`)
    .join('');
}

function one(name: string, makes: readonly Make[], probes: readonly Probe[]): Case {
  return { name, policies: (namespace) => makes.map((make) => make(namespace)), probes };
}

const ok = (from: string, to: string, port: number | 'ping' = 8080): Probe => ({ from, to, port });
const not = (from: string, to: string, drop: Drop, port: number | 'ping' = 8080): Probe => ({
  from,
  to,
  port,
  drop,
});

const ALLOW_ALL_OUT = cnp('allow-all-egress', `endpointSelector: {}\negress: [{toEntities: [all]}]`);
const ALLOW_ALL_IN = cnp('allow-all-ingress', `endpointSelector: {}\ningress: [{fromEntities: [all]}]`);
const WORLD = '192.168.77.201/32';
const WORLD_RANGE = '192.168.77.200/29';

export const CASES: readonly Case[] = [
  one(
    'no-policies',
    [],
    [
      ok('client', 'echo'),
      ok('client', 'echo-other'),
      ok('client', 'client2', 'ping'),
      ok('client', 'world'),
      ok('client', 'host', AGENT_METRICS),
    ],
  ),
  one(
    'all-ingress-deny',
    [cnp('deny-in', `endpointSelector: {}\ningress: [{}]`)],
    [
      not('client', 'echo', 'POLICY_DENIED INGRESS'),
      not('client', 'echo-other', 'POLICY_DENIED INGRESS'),
      ok('client', 'world'),
    ],
  ),
  one(
    'all-ingress-deny-knp',
    [knp('deny-in', `podSelector: {}\npolicyTypes: [Ingress]`)],
    [not('client', 'echo', 'POLICY_DENIED INGRESS'), ok('client2', 'world')],
  ),
  one(
    'all-egress-deny',
    [cnp('deny-out', `endpointSelector: {}\negress: [{}]`)],
    [not('client', 'echo', 'POLICY_DENIED EGRESS'), not('client', 'world', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'all-egress-deny-knp',
    [knp('deny-out', `podSelector: {}\npolicyTypes: [Egress]`)],
    [
      not('client', 'echo-other', 'POLICY_DENIED EGRESS'),
      not('client', 'host', 'POLICY_DENIED EGRESS', AGENT_METRICS),
    ],
  ),
  one(
    'all-entities-deny',
    [cnp('deny-entities', `endpointSelector: {}\negressDeny: [{toEntities: [all]}]`)],
    [not('client', 'echo', 'POLICY_DENY EGRESS'), not('client', 'world', 'POLICY_DENY EGRESS')],
  ),
  one(
    'client-ingress',
    [cnp('in', `endpointSelector: ${ECHO}\ningress: [{fromEndpoints: [${CLIENT2}]}]`)],
    [ok('client2', 'echo'), not('client', 'echo', 'POLICY_DENIED INGRESS')],
  ),
  one(
    'client-ingress-knp',
    [knp('in', `podSelector: ${ECHO}\ningress: [{from: [{podSelector: ${CLIENT2}}]}]`)],
    [ok('client2', 'echo'), not('client', 'echo-other', 'POLICY_DENIED INGRESS')],
  ),
  one(
    'client-ingress-icmp',
    [
      cnp(
        'icmp',
        `endpointSelector: ${ECHO}\ningress: [{fromEndpoints: [${CLIENTS}], icmps: [{fields: [{type: EchoRequest}]}]}]`,
      ),
    ],
    [ok('client', 'echo', 'ping'), not('client', 'echo', 'POLICY_DENIED INGRESS')],
  ),
  one(
    'ingress-from-other-client-icmp-deny',
    [
      ALLOW_ALL_IN,
      cnp(
        'icmp-deny',
        `endpointSelector: ${ECHO}\ningressDeny: [{fromEndpoints: [${CLIENT2}], icmps: [{fields: [{type: 8}]}]}]`,
      ),
    ],
    [
      not('client2', 'echo', 'POLICY_DENY INGRESS', 'ping'),
      ok('client2', 'echo'),
      ok('client', 'echo', 'ping'),
    ],
  ),
  one(
    'named-port-deny',
    [
      ALLOW_ALL_IN,
      cnp(
        'named',
        `endpointSelector: ${ECHO}\ningressDeny: [{fromEndpoints: [${CLIENT}], toPorts: [{ports: [{port: http-8080, protocol: TCP}]}]}]`,
      ),
    ],
    [not('client', 'echo', 'POLICY_DENY INGRESS'), ok('client', 'echo', 9090), ok('client2', 'echo')],
  ),
  one(
    'echo-ingress',
    [
      cnp(
        'in',
        `endpointSelector: ${ECHO}\ningress: [{fromEndpoints: [${CLIENT}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]`,
      ),
    ],
    [
      ok('client', 'echo'),
      not('client', 'echo', 'POLICY_DENIED INGRESS', 9090),
      not('client2', 'echo-other', 'POLICY_DENIED INGRESS'),
    ],
  ),
  one(
    'client-egress',
    [
      cnp(
        'out',
        `endpointSelector: ${CLIENTS}\negress: [{toEndpoints: [${ECHO}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]`,
      ),
    ],
    [
      ok('client', 'echo'),
      ok('client', 'echo-other'),
      not('client', 'echo', 'POLICY_DENIED EGRESS', 9090),
      not('client2', 'client', 'POLICY_DENIED EGRESS'),
    ],
  ),
  one(
    'client-egress-expression',
    [
      cnp(
        'out',
        `endpointSelector: {matchExpressions: [{key: kind, operator: In, values: [client]}]}\negress: [{toEndpoints: [{matchExpressions: [{key: other, operator: Exists}, {key: kind, operator: NotIn, values: [client]}]}]}]`,
      ),
    ],
    [ok('client', 'echo-other'), not('client', 'echo', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'client-egress-port-range',
    [
      cnp(
        'out',
        `endpointSelector: ${CLIENTS}\negress: [{toEndpoints: [${ECHO}], toPorts: [{ports: [{port: "8000", endPort: 8100, protocol: TCP}]}]}]`,
      ),
    ],
    [ok('client', 'echo'), not('client', 'echo', 'POLICY_DENIED EGRESS', 9090)],
  ),
  one(
    'client-egress-expression-knp',
    [
      knp(
        'out',
        `podSelector: {matchExpressions: [{key: kind, operator: In, values: [client]}]}\npolicyTypes: [Egress]\negress: [{to: [{podSelector: ${ECHO}}], ports: [{port: 8000, endPort: 8100, protocol: TCP}]}]`,
      ),
    ],
    [ok('client', 'echo'), not('client', 'echo-other', 'POLICY_DENIED EGRESS', 9090)],
  ),
  one(
    'service-account-of-the-client',
    [
      cnp(
        'out',
        `endpointSelector: {matchLabels: {io.cilium.k8s.policy.serviceaccount: client}}\negress: [{toEndpoints: [{matchLabels: {name: echo}}]}]`,
      ),
    ],
    [ok('client', 'echo'), not('client', 'echo-other', 'POLICY_DENIED EGRESS'), ok('client2', 'echo-other')],
  ),
  one(
    'service-account-of-the-server',
    [
      cnp(
        'out',
        `endpointSelector: ${CLIENTS}\negress: [{toEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: echo}}]}]`,
      ),
    ],
    [ok('client', 'echo'), not('client', 'client2', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'client-egress-to-echo-deny',
    [
      ALLOW_ALL_OUT,
      cnp(
        'deny',
        `endpointSelector: ${CLIENTS}\negressDeny: [{toEndpoints: [${ECHO}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]`,
      ),
    ],
    [not('client', 'echo', 'POLICY_DENY EGRESS'), ok('client', 'echo', 9090)],
  ),
  one(
    'client-egress-to-echo-expression-deny',
    [
      ALLOW_ALL_OUT,
      cnp(
        'deny',
        `endpointSelector: ${CLIENTS}\negressDeny: [{toEndpoints: [{matchExpressions: [{key: other, operator: In, values: [echo]}]}]}]`,
      ),
    ],
    [not('client', 'echo-other', 'POLICY_DENY EGRESS'), ok('client', 'echo')],
  ),
  one(
    'service-account-deny',
    [
      ALLOW_ALL_OUT,
      cnp(
        'deny',
        `endpointSelector: {matchLabels: {io.cilium.k8s.policy.serviceaccount: client2}}\negressDeny: [{toEndpoints: [${ECHO}]}]`,
      ),
    ],
    [not('client2', 'echo', 'POLICY_DENY EGRESS'), ok('client', 'echo')],
  ),
  one(
    'to-entities-world',
    [
      cnp(
        'world',
        `endpointSelector: ${CLIENTS}\negress: [{toEntities: [world], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]`,
      ),
    ],
    [
      ok('client', 'world'),
      not('client', 'world', 'POLICY_DENIED EGRESS', 9090),
      not('client', 'echo', 'POLICY_DENIED EGRESS'),
    ],
  ),
  one(
    'to-cidr-external',
    [cnp('cidr', `endpointSelector: ${CLIENT}\negress: [{toCIDR: ["${WORLD}"]}]`)],
    [ok('client', 'world'), not('client', 'echo', 'POLICY_DENIED EGRESS'), ok('client2', 'echo')],
  ),
  one(
    'to-cidr-external-except',
    [
      cnp(
        'cidr',
        `endpointSelector: ${CLIENT}\negress: [{toCIDRSet: [{cidr: ${WORLD_RANGE}, except: [${WORLD}]}]}]`,
      ),
    ],
    [not('client', 'world', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'to-cidr-external-knp',
    [
      knp(
        'cidr',
        `podSelector: ${CLIENT}\npolicyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: ${WORLD_RANGE}}}]}]`,
      ),
    ],
    [ok('client', 'world'), not('client', 'echo', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'client-egress-to-cidr-deny',
    [
      ALLOW_ALL_OUT,
      cnp('cidr-deny', `endpointSelector: ${CLIENT}\negressDeny: [{toCIDRSet: [{cidr: ${WORLD}}]}]`),
    ],
    [not('client', 'world', 'POLICY_DENY EGRESS'), ok('client2', 'world'), ok('client', 'echo')],
  ),
  one(
    'client-egress-to-cidrgroup-deny',
    [
      ALLOW_ALL_OUT,
      group('zone: outside', WORLD_RANGE),
      (namespace) =>
        cnp(
          'group-deny',
          `endpointSelector: ${CLIENT}\negressDeny: [{toCIDRSet: [{cidrGroupRef: outside-${namespace}}]}]`,
        )(namespace),
    ],
    [not('client', 'world', 'POLICY_DENY EGRESS'), ok('client', 'echo')],
  ),
  one(
    'client-egress-to-cidrgroup-deny-by-label',
    [
      ALLOW_ALL_OUT,
      group('zone: far', WORLD_RANGE),
      cnp(
        'group-deny',
        `endpointSelector: ${CLIENT}\negressDeny: [{toCIDRSet: [{cidrGroupSelector: {matchLabels: {zone: far}}}]}]`,
      ),
    ],
    [not('client', 'world', 'POLICY_DENY EGRESS'), ok('client', 'echo')],
  ),
  one(
    'cluster-entity',
    [cnp('cluster', `endpointSelector: ${CLIENTS}\negress: [{toEntities: [cluster]}]`)],
    [ok('client', 'echo-other'), not('client', 'world', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'host-entity-egress',
    [cnp('host', `endpointSelector: ${CLIENTS}\negress: [{toEntities: [host, remote-node]}]`)],
    [
      ok('client', 'host', AGENT_METRICS),
      ok('client', 'remote-node', AGENT_METRICS),
      not('client', 'echo', 'POLICY_DENIED EGRESS'),
    ],
  ),
  one(
    'egress-to-specific-namespace-ccnp',
    [
      ccnp(
        'ns',
        `endpointSelector: {matchLabels: {k8s:io.kubernetes.pod.namespace: LANE, name: client}}\negress: [{toEndpoints: [{matchLabels: {k8s:io.cilium.k8s.namespace.labels.lane: LANE}}]}]`,
      ),
    ],
    [ok('client', 'echo-other'), not('client', 'world', 'POLICY_DENIED EGRESS')],
  ),
  one(
    'ingress-from-specific-namespace-ccnp',
    [
      ccnp(
        'ns',
        `endpointSelector: {matchLabels: {k8s:io.kubernetes.pod.namespace: LANE, kind: echo}}\ningress: [{fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: LANE, name: client}}]}]`,
      ),
    ],
    [ok('client', 'echo'), not('client2', 'echo', 'POLICY_DENIED INGRESS')],
  ),
  one(
    'allow-all-except-world',
    [
      cnp(
        'inside',
        `endpointSelector: {}\ningress: [{fromEntities: [cluster, host, remote-node]}]\negress: [{toEntities: [cluster, host, remote-node]}]`,
      ),
    ],
    [
      ok('client', 'echo-other'),
      ok('client', 'client2', 'ping'),
      ok('client', 'host', AGENT_METRICS),
      not('client', 'world', 'POLICY_DENIED EGRESS'),
    ],
  ),
];
