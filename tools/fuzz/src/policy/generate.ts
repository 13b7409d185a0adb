// SPDX-License-Identifier: Apache-2.0
// Random policy objects, valid by construction, with a taste for edges and overlaps.
import type { Direction, PolicyObject } from '@cilium-ts/policy-oracle';
import type { Random } from '../random.ts';
import { CLUSTER, EDGE_PORTS, judgedPod, NESTED, PREFIXES } from './universe.ts';

type Json = Record<string, unknown>;

/** What a run may use; switched off where the other side does not have it. */
export interface Features {
  readonly cluster: boolean;
  readonly conditions: boolean;
  readonly tiers: boolean;
  readonly audit: boolean;
  readonly host: boolean;
  readonly portZero: boolean;
}

export const ALL_FEATURES: Features = {
  cluster: true,
  conditions: true,
  tiers: true,
  audit: true,
  host: true,
  portZero: true,
};

/** What the compiler has today. */
export const COMPILED_FEATURES: Features = { ...ALL_FEATURES, portZero: false };

/** The endpoint a case judges, and the agent's settings. */
export interface Setting {
  readonly subject: 'web' | 'db' | 'twin' | 'health' | 'init' | 'host';
  readonly mode: 'default' | 'always' | 'never';
  readonly allowLocalhost: boolean;
  readonly hostFirewall: boolean;
}

export interface PolicyCase {
  readonly setting: Setting;
  readonly objects: readonly PolicyObject[];
}

const REQUIREMENTS: readonly Json[] = [
  { key: 'app', operator: 'In', values: ['web', 'db'] },
  { key: 'app', operator: 'NotIn', values: ['web'] },
  { key: 'app', operator: 'Exists' },
  { key: 'tier', operator: 'DoesNotExist' },
];

function plainSelector(random: Random): Json {
  if (random.chance(30)) return {};
  if (random.chance(30)) return { matchExpressions: [random.pick(REQUIREMENTS)] };
  return { matchLabels: { app: random.pick(['web', 'db', 'nobody']) } };
}

const SPECIAL_SELECTORS: readonly Json[] = [
  { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'two' } },
  { matchLabels: { 'k8s:app': 'web', 'io.kubernetes.pod.namespace': 'one' } },
  { matchLabels: { 'k8s:io.cilium.k8s.namespace.labels.team': 'blue' } },
  { matchExpressions: [{ key: 'k8s:io.kubernetes.pod.namespace', operator: 'Exists' }] },
  { matchLabels: { 'k8s:io.cilium.k8s.policy.cluster': 'away' } },
  { matchLabels: { 'io.cilium.k8s.policy.cluster': CLUSTER, app: 'web' } },
  { matchLabels: { 'reserved:host': '' } },
  { matchLabels: { 'reserved:remote-node': '' } },
];

function peerSelector(random: Random): Json {
  return random.chance(30) ? random.pick(SPECIAL_SELECTORS) : plainSelector(random);
}

const ENTITIES = [
  'all',
  'world',
  'cluster',
  'host',
  'remote-node',
  'health',
  'ingress',
  'init',
  'kube-apiserver',
  'none',
];

function cidrRule(random: Random): Json {
  const kind = random.below(10);
  if (kind === 0) return { cidrGroupRef: random.pick(['office', 'home', 'void', 'lost']) };
  if (kind === 1) return { cidrGroupSelector: { matchLabels: { site: 'x' } } };
  if (kind <= 3) return { cidr: random.pick(PREFIXES) };
  const [cidr, inside] = random.pick(NESTED);
  return { cidr, except: random.many(1, 2, () => random.pick(inside)) };
}

const SERVICE_REFERENCES: readonly Json[] = [
  { k8sService: { serviceName: 'db', namespace: 'one' } },
  { k8sService: { serviceName: 'bare', namespace: 'two' } },
  { k8sService: { serviceName: 'lost', namespace: 'one' } },
  { k8sService: { serviceName: 'empty', namespace: 'one' } },
  { k8sServiceSelector: { selector: { matchLabels: { expose: 'yes' } } } },
  { k8sServiceSelector: { selector: { matchLabels: { expose: 'no' } }, namespace: 'two' } },
  { k8sServiceSelector: { selector: { matchLabels: { expose: 'no' } }, namespace: 'one' } },
];

function peers(random: Random, direction: Direction, deny: boolean, features: Features): Json {
  const side = direction === 'ingress' ? 'from' : 'to';
  const list = <T>(make: () => T): T[] => random.many(random.chance(4) ? 0 : 1, 2, make);
  switch (random.below(features.conditions && !deny ? 9 : 7)) {
    case 0:
      return {};
    case 1:
    case 2:
      return { [`${side}Endpoints`]: list(() => peerSelector(random)) };
    case 3:
      return { [`${side}CIDR`]: list(() => random.pick(PREFIXES)) };
    case 4:
      return { [`${side}CIDRSet`]: list(() => cidrRule(random)) };
    case 6:
      if (direction === 'egress' && !deny) return { toServices: [random.pick(SERVICE_REFERENCES)] };
      return { [`${side}Entities`]: list(() => random.pick(ENTITIES)) };
    case 7:
      if (direction === 'egress') return { toFQDNs: [{ matchName: 'example.org' }] };
      return {};
    default:
      return { [`${side}Entities`]: list(() => random.pick(ENTITIES)) };
  }
}

const NAMES = ['http', 'dns', 'pg', 'twice', 'lost'];

function port(random: Random, features: Features): Json {
  const protocol = random.pick(['TCP', 'TCP', 'UDP', 'SCTP', 'ANY', undefined]);
  const given = protocol === undefined ? {} : { protocol };
  if (random.chance(12)) return { port: random.pick(NAMES), ...given };
  const numbers = EDGE_PORTS.filter((number) => number > 0 || features.portZero);
  const [a, b] = [random.pick(numbers), random.pick(numbers)];
  if (a !== b && random.chance(45)) {
    return { port: String(Math.min(a, b)), endPort: Math.max(a, b), ...given };
  }
  return { port: String(a), ...given };
}

/** A condition that nothing enforces yet, on ports that may carry it. */
function conditionalPort(random: Random, direction: Direction): Json {
  const numbers = EDGE_PORTS.filter((number) => number > 0);
  const tcp = { port: String(random.pick(numbers)), protocol: 'TCP' };
  const range = { ...tcp, port: '79', endPort: random.pick([80, 1024, 65535]) };
  switch (random.below(direction === 'egress' ? 4 : 2)) {
    case 0:
      return { ports: [random.chance(30) ? range : tcp], rules: { http: [{ method: 'GET' }] } };
    case 1:
      return { ports: [tcp], serverNames: ['example.org'] };
    case 2:
      return { ports: [{ port: '53', protocol: 'ANY' }], rules: { dns: [{ matchPattern: '*' }] } };
    default:
      return {
        ports: [tcp],
        listener: { envoyConfig: { name: 'cec' }, name: 'l', priority: random.between(1, 100) },
      };
  }
}

const ICMP_FIELDS: readonly Json[] = [
  { family: 'IPv4', type: 8 },
  { type: 0 },
  { type: 'EchoRequest' },
  { family: 'IPv6', type: 128 },
  { family: 'IPv6', type: 'EchoReply' },
  { family: 'IPv6', type: 'TimeExceeded' },
];

function ports(random: Random, direction: Direction, deny: boolean, features: Features): Json {
  if (random.chance(30)) return {};
  if (random.chance(15)) return { icmps: [{ fields: random.many(1, 2, () => random.pick(ICMP_FIELDS)) }] };
  return {
    toPorts: random.many(1, 2, () =>
      features.conditions && !deny && random.chance(20)
        ? conditionalPort(random, direction)
        : { ports: random.many(1, 3, () => port(random, features)) },
    ),
  };
}

function item(random: Random, direction: Direction, deny: boolean, features: Features): Json {
  if (random.chance(3)) return {};
  const authenticated = features.conditions && !deny && random.chance(4);
  return {
    ...peers(random, direction, deny, features),
    ...ports(random, direction, deny, features),
    ...(authenticated ? { authentication: { mode: 'required' } } : {}),
  };
}

function ciliumRule(random: Random, clusterWide: boolean, { setting, features }: Wish): Json {
  const rule: Json = {};
  if (setting.subject === 'host' && clusterWide && random.chance(80)) {
    rule['nodeSelector'] = random.chance(50) ? {} : { matchLabels: { role: random.pick(['edge', 'core']) } };
  } else if (clusterWide && setting.subject === 'init' && random.chance(50)) {
    rule['endpointSelector'] = { matchLabels: { 'reserved:init': '' } };
  } else {
    rule['endpointSelector'] = random.chance(60) ? {} : plainSelector(random);
  }
  const ofHost = rule['nodeSelector'] !== undefined;
  const allowed = ofHost ? { ...features, conditions: false } : features;
  const direction = random.pick(['ingress', 'egress'] as const);
  for (const side of random.chance(30) ? (['ingress', 'egress'] as const) : [direction]) {
    if (random.chance(80)) rule[side] = random.many(1, 2, () => item(random, side, false, allowed));
    if (random.chance(35) || !rule[side]) {
      rule[`${side}Deny`] = random.many(1, 2, () => item(random, side, true, allowed));
    }
  }
  if (random.chance(25)) rule['enableDefaultDeny'] = { [direction]: random.chance(20) };
  return rule;
}

function kubernetesPeer(random: Random): Json {
  if (random.chance(30)) {
    const [cidr, inside] = random.pick(NESTED);
    return { ipBlock: random.chance(50) ? { cidr } : { cidr, except: [random.pick(inside)] } };
  }
  const namespaceSelector = random.chance(50) ? {} : { matchLabels: { team: random.pick(['red', 'blue']) } };
  const kind = random.below(3);
  if (kind === 0) return { namespaceSelector };
  if (kind === 1) return { podSelector: plainSelector(random) };
  return { namespaceSelector, podSelector: plainSelector(random) };
}

function kubernetesPort(random: Random): Json {
  const protocol = random.pick(['TCP', 'UDP', 'SCTP', undefined]);
  const given = protocol === undefined ? {} : { protocol };
  if (random.chance(10)) return given;
  if (random.chance(12)) return { port: random.pick(NAMES), ...given };
  const number = random.pick(EDGE_PORTS.filter((each) => each > 0));
  return random.chance(30)
    ? { port: number, endPort: Math.min(65535, number + random.pick([0, 1, 7, 1000, 60000])), ...given }
    : { port: number, ...given };
}

function networkPolicySpec(random: Random): Json {
  const directions = random.pick([['ingress'], ['egress'], ['ingress', 'egress']] as const);
  const items = (side: 'from' | 'to'): Json[] =>
    random.many(0, 2, () => ({
      ...(random.chance(75) ? { [side]: random.many(1, 2, () => kubernetesPeer(random)) } : {}),
      ...(random.chance(60) ? { ports: random.many(1, 2, () => kubernetesPort(random)) } : {}),
    }));
  return {
    podSelector: plainSelector(random),
    policyTypes: directions.map((each) => (each === 'ingress' ? 'Ingress' : 'Egress')),
    ...Object.fromEntries(directions.map((each) => [each, items(each === 'ingress' ? 'from' : 'to')])),
  };
}

const TEAMS: readonly Json[] = [{}, { matchLabels: { team: 'red' } }, { matchLabels: { team: 'blue' } }];

function tierPeer(random: Random, egress: boolean): Json {
  // A kind that the API server has dropped because it does not know it.
  if (random.chance(3)) return {};
  if (egress && random.chance(25)) return { networks: random.many(1, 2, () => random.pick(PREFIXES)) };
  if (random.chance(50)) return { namespaces: random.pick(TEAMS) };
  return { pods: { namespaceSelector: random.pick(TEAMS), podSelector: plainSelector(random) } };
}

function tierProtocol(random: Random, networks: boolean): Json {
  if (!networks && random.chance(15)) return { destinationNamedPort: random.pick(NAMES) };
  const ports = EDGE_PORTS.filter((number) => number > 0);
  const [a, b] = [random.pick(ports), random.pick(ports)];
  const destinationPort =
    a !== b && random.chance(40)
      ? { range: { start: Math.min(a, b), end: Math.max(a, b) } }
      : { number: random.pick(ports) };
  return { [random.pick(['tcp', 'udp', 'sctp'])]: random.chance(15) ? {} : { destinationPort } };
}

function tierSpec(random: Random, priority: number): Json {
  const rules = (direction: Direction): Json[] =>
    random.many(1, 3, () => {
      const peers = random.many(1, 2, () => tierPeer(random, direction === 'egress'));
      const networks = peers.some((peer) => 'networks' in peer);
      return {
        action: random.pick(['Accept', 'Deny', 'Pass']),
        [direction === 'ingress' ? 'from' : 'to']: peers,
        ...(random.chance(50) ? { protocols: random.many(1, 2, () => tierProtocol(random, networks)) } : {}),
      };
    });
  const directions = random.pick([['ingress'], ['egress'], ['ingress', 'egress']] as const);
  return {
    tier: random.pick(['Admin', 'Baseline']),
    priority,
    subject: random.chance(60)
      ? { namespaces: random.pick(TEAMS) }
      : { pods: { namespaceSelector: random.pick(TEAMS), podSelector: plainSelector(random) } },
    ...Object.fromEntries(directions.map((direction) => [direction, rules(direction)])),
  };
}

interface Wish {
  readonly setting: Setting;
  readonly features: Features;
}

function object(random: Random, index: number, wish: Wish): PolicyObject {
  const { features, setting } = wish;
  const audited = features.audit && random.chance(20);
  const metadata = {
    name: `p${index}`,
    ...(audited ? { annotations: { 'policy.cilium-ts.io/audit': 'true' } } : {}),
  };
  const namespaced = { ...metadata, namespace: random.chance(85) ? 'one' : 'two' };
  const kind = judgedPod(setting.subject) ? random.below(10) : 9;
  if (kind <= 1) {
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: namespaced,
      spec: networkPolicySpec(random),
    };
  }
  if (kind <= 3 && features.tiers) {
    const apiVersion = 'policy.networking.k8s.io/v1alpha2';
    return {
      apiVersion,
      kind: 'ClusterNetworkPolicy',
      metadata,
      spec: tierSpec(random, index * 10 + random.below(10)),
    };
  }
  const clusterWide = kind >= 8 && features.cluster;
  const rules = random.many(1, random.chance(15) ? 2 : 1, () => ciliumRule(random, clusterWide, wish));
  return {
    apiVersion: 'cilium.io/v2',
    kind: clusterWide ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy',
    metadata: clusterWide ? metadata : namespaced,
    ...(rules.length > 1 ? { specs: rules } : { spec: rules[0] }),
  };
}

/** One random case; equal seeds and features give equal cases. */
export function policyCase(random: Random, features: Features): PolicyCase {
  const rare = ['health', 'init', ...(features.host ? (['host', 'host'] as const) : [])] as const;
  const subject = random.chance(85) ? random.pick(['web', 'db', 'twin'] as const) : random.pick(rare);
  const setting: Setting = {
    subject,
    mode: random.chance(85) ? 'default' : random.pick(['always', 'never'] as const),
    allowLocalhost: random.chance(75),
    hostFirewall: subject === 'host' || (features.host && random.chance(50)),
  };
  const wish = { setting, features };
  let index = 0;
  return { setting, objects: random.many(1, random.chance(20) ? 6 : 3, () => object(random, index++, wish)) };
}
