// SPDX-License-Identifier: Apache-2.0
// Tested: what a ClusterNetworkPolicy is read as, and what is refused. How: objects as the API server holds them.
import { describe, expect, test } from '@jest/globals';
import { parseClusterPolicy } from './parse-cluster-policy.ts';

const all = { namespaces: {} };
const rule = (change: object = {}): object => ({ action: 'Accept', from: [all], ...change });
const spec = (change: object = {}): object => ({
  tier: 'Admin',
  priority: 7,
  subject: all,
  ingress: [rule()],
  ...change,
});

function parse(value: unknown): ReturnType<typeof parseClusterPolicy> {
  return parseClusterPolicy(
    { kind: 'ClusterNetworkPolicy', metadata: { name: 'p' }, spec: value },
    { cluster: 'c' },
  );
}

function items(value: unknown) {
  const parsed = parse(value);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
  return parsed.value.rules[0]!.items;
}

describe('a ClusterNetworkPolicy', () => {
  test('is rules in order, without default deny', () => {
    const rules = [rule(), rule({ action: 'Pass' }), rule({ action: 'Deny' })];
    expect(items(spec({ tier: 'Baseline', ingress: rules }))).toMatchObject([
      { action: 'allow', tier: 'baseline', priority: 7000, defaultDeny: false, ports: 'any' },
      { action: 'pass', priority: 7001 },
      { action: 'deny', priority: 7002, origin: { path: 'ingress[2]' } },
    ]);
  });

  test('names ports by number, range and name', () => {
    const protocols = [
      { tcp: { destinationPort: { number: 80 } } },
      { udp: { destinationPort: { range: { start: 1, end: 9 } } } },
      { sctp: {} },
      { destinationNamedPort: 'web' },
    ];
    expect(items(spec({ ingress: [rule({ protocols })] }))[0]!.ports).toMatchObject([
      { protocols: [6], from: 80, to: 80, origin: { path: 'ingress[0].protocols[0]' } },
      { protocols: [17], from: 1, to: 9 },
      { protocols: [132], from: 0, to: 65535 },
      { protocols: [6, 17, 132], name: 'web' },
    ]);
  });

  test('fails closed at peers of an unknown kind', () => {
    const one = (action: string): unknown => items(spec({ ingress: [rule({ action, from: [{}] })] }))[0];
    expect(one('Accept')).toMatchObject({ action: 'allow', peers: [] });
    expect(one('Deny')).toMatchObject({ action: 'deny', peers: 'any' });
    expect(one('Pass')).toMatchObject({ action: 'deny', peers: 'any' });
    const names = parse(
      spec({ ingress: [], egress: [{ action: 'Accept', to: [{ domainNames: ['a.b'] }] }] }),
    );
    expect(names).toMatchObject({
      ok: true,
      value: { unenforced: [{ path: 'spec.egress[0].to[0].domainNames' }] },
    });
  });

  test.each([
    ['no priority', spec({ priority: undefined }), 'spec.priority'],
    ['priority above 1000', spec({ priority: 1001 }), 'spec.priority'],
    ['another tier', spec({ tier: 'Normal' }), 'spec.tier'],
    ['no subject', spec({ subject: {} }), 'spec.subject'],
    ['two subjects', spec({ subject: { ...all, pods: {} } }), 'spec.subject'],
    ['another action', spec({ ingress: [rule({ action: 'Allow' })] }), 'spec.ingress[0].action'],
    ['no peers', spec({ ingress: [rule({ from: [] })] }), 'spec.ingress[0].from'],
    ['networks on ingress', spec({ ingress: [rule({ from: [{ networks: [] }] })] }), 'from[0].networks'],
    ['a backward range', spec({ ingress: [rule({ protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 9 } } } }] })] }), 'range'], // prettier-ignore
    [
      'two protocols in one',
      spec({ ingress: [rule({ protocols: [{ tcp: {}, udp: {} }] })] }),
      'protocols[0]',
    ],
    ['a misspelt field', spec({ ingres: [] }), 'spec.ingres'],
  ])('%s is refused', (_, value, path) => {
    const parsed = parse(value);
    expect(parsed.ok ? [] : parsed.error.map((problem) => problem.path).join()).toContain(path);
  });
});
