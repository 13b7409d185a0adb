// SPDX-License-Identifier: Apache-2.0
// Tested: the rules that match and the one that wins, default deny with isolating policies and nearest miss, audited
// policies, both directions, policies not in the cluster. How: an engine with a few pods, asked about single flows.
import { expect, describe, test } from '@jest/globals';
import { cidrLabels } from '@cilium-ts/identity';
import {
  PolicyEngine,
  engineExplainSource,
  explainFlow,
  type ExplainEndpoint,
  type Explanation,
  type ParsedPolicy,
} from './index.ts';
import { parsed, podLabels } from './testing.ts';

const pod = (identity: number, namespace: string, labels: Record<string, string>): ExplainEndpoint => ({
  identity,
  labels: podLabels(namespace, labels),
  pod: `${namespace}/${Object.values(labels).join('-')}`,
});
const FRONTEND = pod(300, 'production', { app: 'frontend' });
const BACKEND = pod(301, 'production', { app: 'backend' });
const OTHER = pod(302, 'staging', { app: 'backend' });
const WORLD: ExplainEndpoint = { identity: 2, labels: cidrLabels('203.0.113.9/32') };

function engineOf(...policies: ParsedPolicy[]): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default' });
  for (const { identity, labels } of [FRONTEND, BACKEND, OTHER]) engine.upsertIdentity(identity, labels);
  engine.upsertPod(BACKEND.pod!, { identity: 301, ports: [{ name: 'web', port: 8080, protocol: 6 }] });
  for (const policy of policies) engine.upsertPolicy(policy);
  engine.compile();
  return engine;
}

type Ask = [source: ExplainEndpoint, destination: ExplainEndpoint, port: number | string, protocol?: number];

const ask = (engine: PolicyEngine, ...[source, destination, port, protocol = 6]: Ask) =>
  explainFlow(engineExplainSource(engine), { source, destination, port, protocol });

const egressOf = (engine: PolicyEngine, ...question: Ask): Explanation =>
  ask(engine, ...question).directions[0]!;

const frontend = { endpointSelector: { matchLabels: { app: 'frontend' } } };
const toBackend = {
  toEndpoints: [{ matchLabels: { app: 'backend' } }],
  toPorts: [{ ports: [{ port: '8080', protocol: 'TCP' }] }],
};
const web = parsed('cnp', 'web', { ...frontend, egress: [toBackend] }, 'production');

describe('a default deny', () => {
  test.each<[string, Ask, string]>([
    ['the port', [FRONTEND, BACKEND, 8081], 'port 8081, rule has 8080'],
    ['the protocol', [FRONTEND, BACKEND, 8080, 17], 'protocol UDP, rule has TCP 8080'],
    ['a label', [FRONTEND, FRONTEND, 8080], 'peer labels differ: app=frontend, rule wants app=backend'],
    ['the namespace', [FRONTEND, OTHER, 8080], 'other namespace: staging, rule has production'],
  ])('names the isolating policy and says that %s differs', (_, question, text) => {
    const answer = egressOf(engineOf(web), ...question);
    expect(answer).toMatchObject({
      verdict: 'default-deny',
      isolatedBy: [{ name: 'web', path: 'egress[0]', line: 2 }],
      nearestMiss: { text, origin: { name: 'web', path: 'egress[0].toPorts[0]', line: 6 } },
    });
  });

  test('prefers the rule for the port to one for another port of everybody', () => {
    const dns = { toEntities: ['all'], toPorts: [{ ports: [{ port: '53', protocol: 'UDP' }] }] };
    const both = parsed('cnp', 'both', { ...frontend, egress: [dns, toBackend] }, 'production');
    expect(egressOf(engineOf(both), FRONTEND, OTHER, 8080).nearestMiss!.text).toContain('other namespace');
  });

  test('says which prefix an address is not in, and which one is excepted', () => {
    const toCIDRSet = [{ cidr: '203.0.113.0/24', except: ['203.0.113.8/29'] }];
    const policy = parsed('cnp', 'net', { ...frontend, egress: [{ toCIDRSet }] }, 'production');
    const text = (address: string) =>
      egressOf(engineOf(policy), FRONTEND, { identity: 2, labels: cidrLabels(address) }, 80).nearestMiss!
        .text;
    expect(text('203.0.113.9/32')).toBe('peer is in 203.0.113.8/29, which the rule excepts');
    expect(text('192.0.2.1/32')).toBe('peer is not in 203.0.113.0/24');
    expect(
      egressOf(engineOf(policy), FRONTEND, { ...WORLD, labels: cidrLabels('203.0.113.1/32') }, 80),
    ).toMatchObject({
      verdict: 'allow',
    });
  });

  test('notes a named port that no pod has', () => {
    const named = { ...toBackend, toPorts: [{ ports: [{ port: 'grpc', protocol: 'TCP' }] }] };
    const policy = parsed('cnp', 'named', { ...frontend, egress: [named] }, 'production');
    expect(ask(engineOf(policy), FRONTEND, BACKEND, 8080).notes).toEqual([
      'named egress[0].toPorts[0] names port "grpc", which no pod has: it allows nothing',
    ]);
  });
});

test('every rule that matches is listed in the order of its say, and the winner is marked', () => {
  const wide = parsed('cnp', 'wide', { ...frontend, egress: [{ toEntities: ['all'] }] }, 'production');
  const deny = parsed('cnp', 'deny', { ...frontend, egressDeny: [toBackend] }, 'production');
  const answer = ask(engineOf(web, wide, deny), FRONTEND, BACKEND, 8080);
  expect(answer).toMatchObject({ verdict: 'deny', port: 8080 });
  const [egress, ingress] = answer.directions;
  expect(egress!.matched.map(({ origin, verdict, won }) => [origin!.name, verdict, won])).toEqual([
    ['deny', 'deny', true],
    ['web', 'allow', false],
    ['wide', 'allow', false],
  ]);
  expect(ingress).toMatchObject({ verdict: 'default-allow', matched: [] });
});

test('an audited policy that would drop gives audit, names itself, and keeps the flow passing', () => {
  const answer = ask(engineOf({ ...web, audited: true }), FRONTEND, BACKEND, 9999);
  expect(answer.verdict).toBe('audit');
  expect(answer.directions[0]).toMatchObject({
    verdict: 'audit',
    origin: { name: 'web' },
    isolatedBy: [{ name: 'web' }],
  });
});

test('what only L7 rules allow is unenforced, so dropped', () => {
  const toPorts = [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '/x' }] } }];
  const l7 = parsed('cnp', 'l7', { ...frontend, egress: [{ toPorts }] }, 'production');
  const answer = ask(engineOf(l7), FRONTEND, WORLD, 80);
  expect(answer).toMatchObject({
    verdict: 'deny',
    notes: ['no policy is enforced on ingress at identity 2'],
  });
  expect(answer.directions[0]).toMatchObject({ verdict: 'unenforced', origin: { name: 'l7' } });
});

test('a named port of the destination is looked up, and one it does not have is refused', () => {
  expect(ask(engineOf(web), FRONTEND, BACKEND, 'web')).toMatchObject({ verdict: 'allow', port: 8080 });
  expect(() => ask(engineOf(web), FRONTEND, BACKEND, 'nope')).toThrow(
    'production/backend has no TCP port named "nope"',
  );
});

test('policies sent along count as if they were there, and replace those of their name', () => {
  const engine = engineOf(web);
  const toPorts = [{ ports: [{ port: '9090', protocol: 'TCP' }] }];
  const moved = parsed('cnp', 'web', { ...frontend, egress: [{ toPorts }] }, 'production');
  const query = { source: FRONTEND, destination: BACKEND, protocol: 6, port: 8080 };
  expect(explainFlow(engineExplainSource(engine), query).verdict).toBe('allow');
  expect(explainFlow(engineExplainSource(engine, [moved]), query).directions[0]).toMatchObject({
    verdict: 'default-deny',
    isolatedBy: [{ name: 'web' }],
    nearestMiss: { text: 'port 8080, rule has 9090' },
  });
  const denied = parsed('cnp', 'no', { ...frontend, egressDeny: [toBackend] }, 'production');
  expect(explainFlow(engineExplainSource(engine, [denied]), query).directions[0]).toMatchObject({
    verdict: 'deny',
    origin: { name: 'no' },
    matched: [{ won: true }, { won: false, origin: { name: 'web' } }],
  });
  expect(explainFlow(engineExplainSource(engine), query).verdict).toBe('allow');
});
