// SPDX-License-Identifier: Apache-2.0
// Tested: questions with identities, labels, addresses, files. How: an engine with one policy, asked as the wire does.
import { describe, expect, test } from '@jest/globals';
import { PolicyEngine } from './engine.ts';
import { answerExplain, type AskedEndpoint, type AskedFlow } from './explain-request.ts';
import { parsed, podLabels } from './testing.ts';

const NOBODY: AskedEndpoint = { identity: 0, pod: '', labels: [], address: '' };
const FILE = `kind: CiliumNetworkPolicy
metadata: { name: file, namespace: ns }
spec:
  endpointSelector: {}
  egressDeny:
    - toCIDR: [203.0.113.0/24]
`;

function engineOf(): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.upsertIdentity(300, podLabels('ns', { app: 'a' }));
  const toEntities = ['world'];
  engine.upsertPolicy(parsed('cnp', 'out', { endpointSelector: {}, egress: [{ toEntities }] }));
  engine.compile();
  return engine;
}

const ask = (more: Partial<AskedFlow>) =>
  answerExplain(engineOf(), {
    source: { ...NOBODY, identity: 300 },
    destination: { ...NOBODY, address: '203.0.113.9' },
    protocol: '',
    port: '443',
    policies: '',
    offline: false,
    l7: '',
    ...more,
  });

test('an address is judged as its prefix; policies of a file count with their own lines', () => {
  expect(ask({}).directions[0]).toMatchObject({ verdict: 'allow', origin: { name: 'out' } });
  const origin = { name: 'file', path: 'egressDeny[0]', line: 6 };
  expect(ask({ policies: FILE }).directions[0]).toMatchObject({ verdict: 'deny', origin });
  const alone = ask({ policies: FILE, offline: true }).directions[0]!;
  expect(alone.matched).toHaveLength(1);
  expect(ask({ policies: FILE, destination: { ...NOBODY, address: '192.0.2.1' } }).verdict).toBe('allow');
});

test('somebody who is not there is judged by labels', () => {
  const labels = podLabels('ns', { app: 'new' }).map(({ source, key, value }) => `${source}:${key}=${value}`);
  expect(ask({ source: { ...NOBODY, labels } }).directions[0]).toMatchObject({
    verdict: 'allow',
    origin: { name: 'out' },
  });
  expect(ask({ source: { ...NOBODY, labels }, policies: FILE, offline: true }).verdict).toBe('deny');
});

test('a request is not judged, and the answer says so', () => {
  expect(ask({ l7: 'GET /x' }).notes).toContain(
    'GET /x: no L7 rule decides here, so every request has this verdict',
  );
});

describe('refused, with the reason', () => {
  test.each<[Partial<AskedFlow>, string]>([
    [{ source: undefined }, 'the source needs an identity, labels or an address'],
    [{ source: { ...NOBODY, identity: 999 } }, 'identity 999 is not known'],
    [{ destination: { ...NOBODY, address: 'x' } }, 'destination: x is not an IP address'],
    [{ protocol: 'FOO' }, 'protocol "FOO" is not one of TCP'],
    [{ port: '' }, 'a port is needed'],
    [{ port: '70000' }, 'not between 0 and 65535'],
    [{ policies: 'kind: Pod' }, 'line 1: Pod  kind: "Pod" is not one of'],
  ])('%j', (more, message) => expect(() => ask(more)).toThrow(message));
});
