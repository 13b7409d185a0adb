// SPDX-License-Identifier: Apache-2.0
// Tested: the specification of policy itself. How: small worlds and objects whose verdict is written beside them.
import { describe, expect, test } from '@jest/globals';
import { createOracle, type Flow, type PolicyObject, type World } from './index.ts';

const pod = (namespace: string, app: string): string[] => [
  `k8s:app=${app}`,
  `k8s:io.kubernetes.pod.namespace=${namespace}`,
  `k8s:io.cilium.k8s.namespace.labels.team=${namespace}`,
  'k8s:io.cilium.k8s.policy.cluster=home',
];
const world: World = {
  mode: 'default',
  allowLocalhost: true,
  hostFirewall: false,
  cluster: 'home',
  identities: new Map([
    [1, ['reserved:host']],
    [6, ['reserved:remote-node']],
    [9, ['reserved:world-ipv4']],
    [10, ['reserved:world-ipv6']],
    [300, pod('one', 'web')],
    [301, pod('one', 'db')],
    [302, pod('two', 'web')],
    [303, [...pod('one', 'web').slice(0, 3), 'k8s:io.cilium.k8s.policy.cluster=away']],
    [16777217, ['cidr:10.0.0.0/8', 'reserved:world-ipv4']],
    [16777218, ['cidr:10.1.0.0/16', 'reserved:world-ipv4']],
    [16777219, ['cidr:fd00--0/64', 'reserved:world-ipv6']],
  ]),
  subject: {
    labels: pod('one', 'db'),
    host: false,
    namedPorts: [{ name: 'http', protocol: 'TCP', port: 8080 }],
  },
  namedPorts: [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'twice', protocol: 'TCP', port: 1 },
    { name: 'twice', protocol: 'TCP', port: 2 },
  ],
  services: [
    {
      namespace: 'two',
      name: 'pods',
      labels: { tier: 'a' },
      selector: { app: 'web' },
      backends: ['10.9.9.9'],
    },
    { namespace: 'two', name: 'bare', labels: { tier: 'b' }, backends: ['10.1.0.0'] },
  ],
  cidrGroups: [{ name: 'office', labels: { site: 'x' }, cidrs: ['10.1.0.0/16', 'rubbish'] }],
};
const IDENTITIES = [1, 6, 9, 10, 300, 301, 302, 303, 16777217, 16777218, 16777219];

let count = 0;
function object(kind: string, spec: unknown, audit = false): PolicyObject {
  const clusterWide = kind.startsWith('C') && kind !== 'CiliumNetworkPolicy';
  return {
    kind,
    metadata: {
      name: `p${count++}`,
      ...(clusterWide ? {} : { namespace: 'one' }),
      ...(audit ? { annotations: { 'policy.cilium-ts.io/audit': 'true' } } : {}),
    },
    spec,
  };
}
const cnp = (spec: object, audit = false): PolicyObject =>
  object('CiliumNetworkPolicy', { endpointSelector: {}, ...spec }, audit);
const ccnp = (spec: object): PolicyObject =>
  object('CiliumClusterwideNetworkPolicy', { endpointSelector: {}, ...spec });
const knp = (spec: object): PolicyObject => object('NetworkPolicy', { podSelector: {}, ...spec });
const tiered = (tier: string, priority: number, ingress: object[]): PolicyObject =>
  object('ClusterNetworkPolicy', { tier, priority, subject: { namespaces: {} }, ingress });

function verdict(objects: PolicyObject[], flow: Partial<Flow>, changed: Partial<World> = {}): string {
  const judged = createOracle({ ...world, ...changed }, objects).judge({
    direction: 'ingress',
    identity: 300,
    protocol: 6,
    port: 80,
    ...flow,
  });
  return judged.verdict;
}
/** The identities that are allowed. */
function allowed(objects: PolicyObject[], flow: Partial<Flow> = {}): number[] {
  return IDENTITIES.filter((identity) => verdict(objects, { identity, ...flow }) === 'allow');
}

describe('default deny', () => {
  test.each([
    ['no rule', [], 'allow'],
    ['an empty list', [cnp({ ingress: [], egress: [{}] })], 'allow'],
    ['an empty item', [cnp({ ingress: [{}] })], 'deny'],
    ['an empty peer list with ports', [cnp({ ingress: [{ fromEndpoints: [], toPorts: [{}] }] })], 'deny'],
    ['ports without peers', [cnp({ ingress: [{ toPorts: [{ ports: [{ port: '80' }] }] }] })], 'allow'],
    ['an item of Kubernetes', [knp({ ingress: [{}] })], 'allow'],
    ['no item of Kubernetes', [knp({})], 'deny'],
    ['a switched-off default', [cnp({ enableDefaultDeny: { ingress: false }, ingress: [{}] })], 'allow'],
  ])('%s', (_, objects, expected) => expect(verdict(objects, {})).toBe(expected));

  test('a switched-off default leaves denies acting', () => {
    const deny = cnp({ enableDefaultDeny: { ingress: false }, ingressDeny: [{ fromEntities: ['world'] }] });
    expect(allowed([deny])).toEqual([1, 6, 300, 301, 302, 303]);
  });

  test('modes', () => {
    expect(verdict([], {}, { mode: 'always' })).toBe('deny');
    expect(verdict([], { identity: 1 }, { mode: 'always' })).toBe('allow');
    expect(verdict([knp({})], {}, { mode: 'never' })).toBe('allow');
  });
});

describe('peers', () => {
  const from = (item: object): PolicyObject[] => [cnp({ ingress: [item] })];
  test.each([
    ['all endpoints of the namespace', from({ fromEndpoints: [{}] }), [1, 300, 301]],
    [
      'a namespace named',
      from({ fromEndpoints: [{ matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'two' } }] }),
      [1, 302],
    ],
    ['a reserved label', from({ fromEndpoints: [{ matchLabels: { 'reserved:remote-node': '' } }] }), [1, 6]],
    [
      'a cluster-wide policy',
      [ccnp({ ingress: [{ fromEndpoints: [{ matchLabels: { app: 'web' } }] }] })],
      [1, 300, 302],
    ],
    ['all', from({ fromEntities: ['all'] }), IDENTITIES],
    ['cluster', from({ fromEntities: ['cluster'] }), [1, 6, 300, 301, 302]],
    ['none', from({ fromEntities: ['none'] }), [1]],
    ['a prefix and those inside', from({ fromCIDR: ['10.0.0.0/8'] }), [1, 16777217, 16777218]],
    ['every address', from({ fromCIDR: ['0.0.0.0/0'] }), [1, 9, 16777217, 16777218]],
    ['an exception', from({ fromCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] }), [1, 16777217]],
    ['a group', from({ fromCIDRSet: [{ cidrGroupRef: 'office' }] }), [1, 16777218]],
    [
      'a group by label',
      from({ fromCIDRSet: [{ cidrGroupSelector: { matchLabels: { site: 'x' } } }] }),
      [1, 16777218],
    ],
    ['a group nobody made', from({ fromCIDRSet: [{ cidrGroupRef: 'lost' }] }), [1]],
    [
      'a peer of Kubernetes',
      [knp({ ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'two' } } }] }] })],
      [1, 302],
    ],
  ])('%s', (_, objects, expected) => expect(allowed(objects)).toEqual(expected));

  test.each([
    ['a service with selector', { k8sService: { serviceName: 'pods', namespace: 'two' } }, [302]],
    ['a service without', { k8sService: { serviceName: 'bare' } }, []],
    ['by label', { k8sServiceSelector: { selector: { matchLabels: { tier: 'a' } } } }, [302]],
    ['none, with ports: nobody', { k8sService: { serviceName: 'lost' } }, []],
  ])('%s', (_, reference, expected) => {
    const rule = cnp({ egress: [{ toServices: [reference], toPorts: [{ ports: [{ port: '80' }] }] }] });
    expect(allowed([rule], { direction: 'egress' })).toEqual(expected);
  });
});

describe('ports', () => {
  const ports = (...list: object[]): PolicyObject[] => [cnp({ ingress: [{ toPorts: [{ ports: list }] }] })];
  test.each([
    ['a range from 0', ports({ port: '0', endPort: 79, protocol: 'TCP' }), {}, 'deny'],
    ['a range from 0, inside', ports({ port: '0', endPort: 79, protocol: 'TCP' }), { port: 0 }, 'allow'],
    ['port 0', ports({ port: '0', protocol: 'TCP' }), {}, 'allow'],
    ['port 0 of any protocol is not ICMP', ports({ port: '0' }), { protocol: 1, port: 8 }, 'deny'],
    ['a name', ports({ port: 'http' }), { port: 8080 }, 'allow'],
    ['a name of another protocol', ports({ port: 'http' }), { port: 8080, protocol: 17 }, 'deny'],
    [
      'an ICMP type',
      [cnp({ ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }] })],
      { protocol: 1, port: 8 },
      'allow',
    ],
    [
      'an ICMP name',
      [cnp({ ingress: [{ icmps: [{ fields: [{ family: 'IPv6', type: 'EchoRequest' }] }] }] })],
      { protocol: 58, port: 128 },
      'allow',
    ],
  ])('%s', (_, objects, flow, expected) => expect(verdict(objects, flow)).toBe(expected));

  test("a name with two numbers is nobody's port on egress", () => {
    const rule = cnp({ egress: [{ toPorts: [{ ports: [{ port: 'twice' }] }] }] });
    expect(verdict([rule], { direction: 'egress', port: 1 })).toBe('deny');
  });
});

describe('conditions', () => {
  const http = { toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '/' }] } }] };
  test('a redirect outranks a plain allow and yields to a deny', () => {
    const plain = cnp({ ingress: [{ fromEndpoints: [{}] }] });
    expect(verdict([cnp({ ingress: [http] }), plain], {})).toBe('unenforced');
    expect(verdict([cnp({ ingress: [http] }), plain], { port: 81 })).toBe('allow');
    expect(verdict([cnp({ ingress: [http], ingressDeny: [{ fromEntities: ['all'] }] })], {})).toBe('deny');
    expect(verdict([cnp({ ingress: [http] })], { identity: 1 })).toBe('allow');
  });
  test('names nobody resolves are the whole world, after every plain allow', () => {
    const names = cnp({ egress: [{ toFQDNs: [{ matchName: 'a.b' }] }] });
    const flow = { direction: 'egress', identity: 9 } as const;
    expect(verdict([names], flow)).toBe('unenforced');
    expect(verdict([names], { ...flow, identity: 300 })).toBe('deny');
    expect(verdict([names, cnp({ egress: [{ toEntities: ['world'] }] })], flow)).toBe('allow');
  });
});

describe('tiers', () => {
  const all = [{ namespaces: {} }];
  test('the first matching rule of a tier decides, Pass leaves it, isolation ends before Baseline', () => {
    const deny = tiered('Admin', 5, [{ action: 'Deny', from: all }]);
    const accept = tiered('Admin', 4, [{ action: 'Accept', from: all }]);
    const pass = tiered('Admin', 3, [{ action: 'Pass', from: all }]);
    const base = tiered('Baseline', 1, [{ action: 'Accept', from: all }]);
    expect(verdict([deny], {})).toBe('deny');
    expect(verdict([deny, accept, knp({})], {})).toBe('allow');
    expect(verdict([deny, pass, knp({})], {})).toBe('deny');
    expect(verdict([deny, pass], {})).toBe('allow');
    expect(verdict([base, knp({})], {})).toBe('deny');
    expect(verdict([tiered('Baseline', 1, [{ action: 'Deny', from: all }])], {})).toBe('deny');
  });
});

describe('audited policies', () => {
  const deny = cnp({ ingressDeny: [{ fromEntities: ['all'] }] }, true);
  const allow = cnp({ ingress: [{ fromEndpoints: [{}] }] });
  test('only what they alone would drop is told apart', () => {
    expect(verdict([deny], {})).toBe('audit');
    expect(verdict([cnp({ ingress: [{}] }, true)], {})).toBe('audit');
    expect(verdict([deny, allow], {})).toBe('audit');
    expect(verdict([deny, allow], { identity: 302 })).toBe('deny');
    expect(verdict([knp({}), cnp({ ingress: [{ fromEndpoints: [{}] }] }, true)], {})).toBe('deny');
  });
  test('the audited policy is named', () => {
    const judged = createOracle(world, [deny, allow]).judge({
      direction: 'ingress',
      identity: 300,
      protocol: 6,
      port: 1,
    });
    expect(judged.decidedBy).toEqual([
      { kind: 'CiliumNetworkPolicy', namespace: 'one', name: deny.metadata.name, path: 'ingressDeny[0]' },
    ]);
  });
});

test('the host is judged by node selectors, and only with the host firewall', () => {
  const rule = object('CiliumClusterwideNetworkPolicy', {
    nodeSelector: { matchLabels: { role: 'edge' } },
    ingress: [{ fromEntities: ['cluster'] }],
  });
  const subject = { labels: ['reserved:host', 'k8s:role=edge'], host: true, namedPorts: [] };
  expect(verdict([rule], { identity: 9 }, { subject })).toBe('allow');
  expect(verdict([rule], { identity: 9 }, { subject, hostFirewall: true })).toBe('deny');
  expect(verdict([rule], { identity: 6 }, { subject, hostFirewall: true })).toBe('allow');
});
