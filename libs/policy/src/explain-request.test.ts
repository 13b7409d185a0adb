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

test('without L7 rules every request has the verdict, and the answer says so', () => {
  expect(ask({ l7: 'GET /x' }).notes).toContain(
    'GET /x: no L7 rule decides here, so every request has this verdict',
  );
});

describe('a request is judged by the L7 rules of what matches', () => {
  const policy = (rules: string, port = 80): string => `kind: CiliumNetworkPolicy
metadata: { name: web, namespace: ns }
spec:
  endpointSelector: {}
  egress:
    - toCIDR: [203.0.113.0/24]
      toPorts: [{ ports: [{ port: "${port}", protocol: TCP }], rules: ${rules} }]
`;
  const HTTP = `{http: [{method: GET, path: "/x.*"}, {method: "(?i)post", path: /y, host: 'shop\\.test', headers: ["X-Key: a"]}]}`;
  const DNS = `{dns: [{matchName: api.test}, {matchPattern: "*.shop.test"}, {matchPattern: "**.deep.test"}]}`;
  const where = 'CNP ns/web egress[0].toPorts[0].rules';
  test.each([
    [HTTP, 'GET /x?q=1', `would pass by ${where}.http[0]`],
    [
      HTTP,
      'GET http://shop.test/y',
      `would be refused; nearest miss ${where}.http[0]: path /y, rule has /x.*`,
    ],
    [HTTP, 'Post http://shop.test/y\nX-Key: a', `would pass by ${where}.http[1]`],
    [HTTP, 'POST /y\nHost: shop.test', `nearest miss ${where}.http[1]: header X-Key is missing`],
    [HTTP, 'POST /y\nHost: shop.test\nx-key: b', 'header X-Key is b, rule has a'],
    [HTTP, 'DNS api.test', `nearest miss ${where}.http: rules of another protocol`],
    [DNS, 'DNS Api.test.', `would pass by ${where}.dns[0]`],
    [DNS, 'DNS a.shop.test', `would pass by ${where}.dns[1]`],
    [DNS, 'DNS a.b.shop.test', `name a.b.shop.test, rule has api.test`],
    [DNS, 'DNS a.b.deep.test', `would pass by ${where}.dns[2]`],
  ])('%s %j', (rules, l7, expected) => {
    const { verdict, notes } = ask({ l7, port: '80', offline: true, policies: policy(rules) });
    expect(verdict).toBe('deny');
    expect(notes.join('\n')).toContain(`on egress: ${expected.startsWith('w') ? expected : ''}`);
    expect(notes.join('\n')).toContain(expected);
    expect(notes.join('\n')).toContain('not enforced yet');
  });

  test('a plain allow of the same traffic lets every request pass', () => {
    const { notes } = ask({ l7: 'PUT /z', port: '80', policies: policy(HTTP) });
    expect(notes.join('\n')).toContain(
      'PUT /z on egress: would pass by CNP ns/out egress[0], which has no L7 rules',
    );
  });
});

describe('refused, with the reason', () => {
  test.each<[Partial<AskedFlow>, string]>([
    [{ source: undefined }, 'the source needs an identity, labels or an address'],
    [{ source: { ...NOBODY, identity: 999 } }, 'identity 999 is not known'],
    [{ destination: { ...NOBODY, address: 'x' } }, 'destination: x is not an IP address'],
    [{ protocol: 'FOO' }, 'protocol "FOO" is not one of TCP'],
    [{ port: '' }, 'a port is needed'],
    [{ l7: 'x' }, 'l7: "x" is no request; possible: '],
    [{ l7: 'GET /x\nbad' }, 'l7: "bad" is no header'],
    [{ port: '70000' }, 'not between 0 and 65535'],
    [{ policies: 'kind: Pod' }, 'line 1: Pod  kind: "Pod" is not one of'],
  ])('%j', (more, message) => expect(() => ask(more)).toThrow(message));
});
