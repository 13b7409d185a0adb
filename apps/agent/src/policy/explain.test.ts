// SPDX-License-Identifier: Apache-2.0
// Tested: names become identities, the agent's own engine answers, and its rule sets do while the policy-compiler is away.
// How: an engine with two pods; nobody listens where the compiler should be.
import { describe, expect, test } from '@jest/globals';
import { formatLabel } from '@cilium-ts/identity';
import { PolicyEngine, ruleSetIdOf } from '@cilium-ts/policy';
import { parsed, podLabels } from '@cilium-ts/policy/testing';
import { explainPolicy, type ExplainPorts } from './explain.ts';

const PODS = [
  { identity: 300, namespace: 'ns', podName: 'a', labels: podLabels('ns', { app: 'a' }) },
  { identity: 301, namespace: 'ns', podName: 'b', labels: podLabels('ns', { app: 'b' }) },
];
const NOBODY = { namespace: 'kube-system', name: 'compiler', backends: [{ address: '127.0.0.1', port: 1 }] };

function portsOf(embedded: boolean): ExplainPorts {
  const engine = new PolicyEngine({ cluster: 'default' });
  for (const { identity, labels } of PODS) engine.upsertIdentity(identity, labels);
  const toPorts = [{ ports: [{ port: '80', protocol: 'TCP' }] }];
  engine.upsertPolicy(parsed('cnp', 'p', { endpointSelector: {}, egress: [{ toPorts }] }));
  engine.compile();
  const identities = new Map(
    PODS.map(({ identity, labels }) => [`${identity}`, { labels: labels.map(formatLabel) }]),
  );
  const addresses = new Map(PODS.map((pod) => [pod.podName, pod]));
  const services = new Map([['x', NOBODY]]);
  return {
    tables: { identities, addresses, services, endpoints: { values: () => [], find: () => [] } } as never,
    cluster: 'default',
    compilerService: 'kube-system/compiler',
    engine: () => (embedded ? engine : undefined),
    ruleSetOf: (identity, pod) => {
      const subject = engine.subject(identity);
      return subject && engine.ruleSet(ruleSetIdOf(subject, pod));
    },
    identityOf: () => undefined,
    flowOf: () => undefined,
  };
}

const question = { from: 'ns/a', to: 'ns/b', port: '81/TCP' };
const DENIED = {
  verdict: 'deny',
  directions: [{ verdict: 'default-deny', nearest_miss: { text: 'port 81, rule has 80' } }, {}],
};

describe('explain', () => {
  test('by the engine of an agent that compiles for itself', async () => {
    expect(await explainPolicy(portsOf(true), question)).toMatchObject(DENIED);
    const labels = { ...question, from: 'ns/app=new', to: '203.0.113.9', port: '80' };
    expect(await explainPolicy(portsOf(true), labels)).toMatchObject({ verdict: 'allow' });
  });

  test('by the rule sets of the node while the compiler is away, saying so', async () => {
    const answer = await explainPolicy(portsOf(false), question);
    expect(answer).toMatchObject(DENIED);
    expect(JSON.stringify(answer)).toContain('the policy-compiler is away (127.0.0.1:1');
  });

  test.each([
    [{ ...question, from: 'ns/x' }, 'nothing of that name is known'],
    [{ ...question, to: '' }, '--to is needed'],
    [{ flow: 'x' }, 'flow x is not (any more) among'],
    [{ ...question, policies: 'kind: Pod' }, 'need the policy-compiler'],
  ])('refuses %j', (asked, message) => expect(explainPolicy(portsOf(false), asked)).rejects.toThrow(message));
});
