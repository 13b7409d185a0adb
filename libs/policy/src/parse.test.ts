// SPDX-License-Identifier: Apache-2.0
// Tested: what is refused, with its path; implicit labels; default deny. How: small objects, one point each.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { parseCiliumPolicy, parseKubernetesPolicy, formatProblem, type PolicyObject } from './index.ts';
import { parsed } from './testing.ts';

const options = { cluster: 'default' };

function problems(spec: unknown, kind = 'CiliumNetworkPolicy'): string[] {
  const metadata = kind === 'CiliumNetworkPolicy' ? { name: 'p', namespace: 'ns' } : { name: 'p' };
  const result = parseCiliumPolicy({ kind, metadata, spec }, options);
  return result.ok ? [] : result.error.map(formatProblem);
}

const egress = (item: unknown): object => ({ endpointSelector: {}, egress: [item] });
const port = (text: unknown, more: object = {}): object =>
  egress({ toPorts: [{ ports: [{ port: text, ...more }] }] });

describe('a policy is refused', () => {
  test.each([
    ['no selector', { ingress: [{}] }, 'spec: needs exactly one of'],
    [
      'both selectors',
      { endpointSelector: {}, nodeSelector: {}, ingress: [{}] },
      'spec: needs exactly one of',
    ],
    ['no rules', { endpointSelector: {} }, 'spec: needs at least one of'],
    ['empty lists only', { endpointSelector: {}, ingress: [] }, 'spec: needs at least one of'],
    ['bad CIDR', egress({ toCIDR: ['10.0.0.0/33'] }), 'spec.egress[0].toCIDR[0]: "10.0.0.0/33"'],
    [
      'address in a CIDR set',
      egress({ toCIDRSet: [{ cidr: '10.0.0.1' }] }),
      'spec.egress[0].toCIDRSet[0].cidr',
    ],
    [
      'exception outside',
      egress({ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/8'] }] }),
      'except[0]',
    ],
    [
      'two ways to name CIDRs',
      egress({ toCIDRSet: [{ cidr: '10.0.0.0/8', cidrGroupRef: 'g' }] }),
      'exactly one of cidr',
    ],
    ['port 0', port('0'), 'spec.egress[0].toPorts[0].ports[0].port: "0"'],
    ['a range from port 0', port('0', { endPort: 1023 }), 'spec.egress[0].toPorts[0].ports[0].port: "0"'],
    [
      'listener priority',
      egress({ toPorts: [{ ports: [{ port: '1' }], listener: { name: 'x', priority: 101 } }] }),
      'listener.priority',
    ],
    ['port 65536', port('65536'), 'spec.egress[0].toPorts[0].ports[0].port: "65536"'],
    ['leading zero', port('010'), 'leading zeros'],
    ['range backwards', port('90', { endPort: 80 }), 'endPort: 80 is smaller'],
    ['long port name', port('a-port-name-too-long'), 'neither a number nor a port name'],
    ['number as port', port(80), 'must be a string'],
    ['unknown protocol', port('80', { protocol: 'TPC' }), 'unknown protocol "TPC"'],
    ['unknown entity', egress({ toEntities: ['wrold'] }), 'unknown entity "wrold"'],
    [
      'two kinds of peers',
      egress({ toCIDR: ['10.0.0.0/8'], toEntities: ['world'] }),
      'combining toCIDR and toEntities',
    ],
    ['misspelt field', egress({ toEndpoint: [{}] }), 'spec.egress[0].toEndpoint: unknown field'],
    [
      'removed field',
      { endpointSelector: {}, ingress: [{ fromRequires: [{}] }] },
      'fromRequires: is no longer supported',
    ],
    [
      'bad label value',
      { endpointSelector: { matchLabels: { app: 'a b' } }, ingress: [{}] },
      'spec.endpointSelector.matchLabels.app',
    ],
    [
      'bad operator',
      { endpointSelector: { matchExpressions: [{ key: 'a', operator: 'Is' }] }, ingress: [{}] },
      'operator: "Is"',
    ],
    [
      'values missing',
      { endpointSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] }, ingress: [{}] },
      'must not be empty',
    ],
    ['node selector in a namespace', { nodeSelector: {}, ingress: [{}] }, 'nodeSelector'],
    [
      'ports and icmps',
      egress({ toPorts: [{ ports: [{ port: '80' }] }], icmps: [{ fields: [{ type: 8 }] }] }),
      'icmps: cannot be combined',
    ],
    ['icmp type', egress({ icmps: [{ fields: [{ type: 256 }] }] }), 'icmps[0].fields[0].type'],
    [
      'name and pattern',
      egress({ toFQDNs: [{ matchName: 'a', matchPattern: 'b' }] }),
      'exactly one of matchName',
    ],
    [
      'bad expression',
      egress({ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '(' }] } }] }),
      'invalid regular expression',
    ],
    [
      'two L7 families',
      egress({ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{}], kafka: [{}] } }] }),
      'only one of http',
    ],
    [
      'unknown authentication',
      egress({ toEndpoints: [{}], authentication: { mode: 'maybe' } }),
      'authentication.mode',
    ],
  ])('%s', (_, spec, expected) => expect(problems(spec).join('\n')).toContain(expected));

  test('with all of its problems at once', () => {
    const spec = {
      endpointSelector: {},
      egress: [{ toCIDR: ['x'] }, { toPorts: [{ ports: [{ port: '00' }, { port: '99999' }] }] }],
    };
    expect(problems(spec)).toHaveLength(3);
  });

  test('without spec and specs', () =>
    expect(problems(undefined)).toEqual(['spec: neither spec nor specs is present']));
});

describe('implicit labels', () => {
  const peer = (kind: 'cnp' | 'ccnp', selector: unknown): string => {
    const item = parsed(kind, 'p', { endpointSelector: {}, ingress: [{ fromEndpoints: [selector] }] })
      .rules[0]!.items[0]!;
    const [first] = item.peers as unknown as {
      selector: { source: string; key: string; operator: string; values: string[] }[];
    }[];
    return first!.selector
      .map((r) => `${r.source}:${r.key} ${r.operator} ${r.values.join()}`.trim())
      .join(' & ');
  };
  const cluster = 'k8s:io.cilium.k8s.policy.cluster In default';

  test('a namespaced policy means its own namespace', () =>
    expect(peer('cnp', {})).toBe(`k8s:io.kubernetes.pod.namespace In ns & ${cluster}`));
  test('a cluster-wide policy means pods of any namespace', () =>
    expect(peer('ccnp', { matchLabels: {} })).toBe(`k8s:io.kubernetes.pod.namespace Exists & ${cluster}`));
  test('a namespace that is named is kept', () =>
    expect(peer('cnp', { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'x' } })).toBe(
      `k8s:io.kubernetes.pod.namespace In x & ${cluster}`,
    ));
  test('reserved identities get nothing added', () =>
    expect(peer('cnp', { matchLabels: { 'reserved:host': '' } })).toBe('reserved:host In'));
});

describe('Kubernetes NetworkPolicy', () => {
  const items = (spec: unknown): unknown => {
    const result = parseKubernetesPolicy(
      { kind: 'NetworkPolicy', metadata: { name: 'p', namespace: 'ns' }, spec },
      options,
    );
    if (!result.ok) throw new Error(result.error.map(formatProblem).join());
    return result.value.rules[0]!.items.map(({ direction, peers, ports }) => ({
      direction,
      peers,
      ports: ports === 'any' ? 'any' : ports.length,
    }));
  };

  test('isolates for ingress unless only egress is listed', () => {
    expect(items({ podSelector: {} })).toEqual([{ direction: 'ingress', peers: [], ports: 'any' }]);
    expect(items({ podSelector: {}, policyTypes: ['Egress'] })).toEqual([
      { direction: 'egress', peers: [], ports: 'any' },
    ]);
  });

  test('a rule without peers means everybody', () =>
    expect(items({ podSelector: {}, ingress: [{}] })).toEqual([
      { direction: 'ingress', peers: 'any', ports: 'any' },
    ]));
});

const corpus = process.env['CORPUS'];
function files(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith('.yaml') ? [path] : [];
  });
}

(corpus === undefined ? describe.skip : describe)('the corpus in CORPUS', () => {
  test('is valid throughout', () => {
    const found = files(corpus!);
    expect(found.length).toBeGreaterThan(20);
    for (const path of found) {
      for (const document of parseAllDocuments(readFileSync(path, 'utf8'))) {
        const result = parseCiliumPolicy(document.toJS() as PolicyObject, options);
        expect([path, result.ok ? [] : result.error]).toEqual([path, []]);
      }
    }
  });
});
