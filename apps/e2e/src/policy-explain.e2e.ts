// SPDX-License-Identifier: Apache-2.0
// Tested: why a flow of the seed passes or not, to the line. How: cilium policy explain and
// hubble observe in the agent's pod, real connections.
import { expect, test } from '@jest/globals';
import { apply, eventually, fetchFrom, inAgent, kubectl, pods, urlOf, type PodInfo } from './cluster.ts';

const explain = (...args: string[]): Promise<string> =>
  kubectl('exec', '-n', 'kube-system', 'ds/cilium', '--', 'cilium', 'policy', ...args);

test('the rule that allows, and for a default deny the isolating policy and the nearest miss', async () => {
  const [frontend] = (await pods('production', 'app=frontend')) as [PodInfo];
  const [backend] = (await pods('production', 'app=backend')) as [PodInfo];
  const from = `production/${frontend.name}`;
  const to = `production/${backend.name}`;
  const allowed = await explain('explain', '--from', from, '--to', to, '--port', '8080/TCP');
  expect(allowed).toMatch(/^Final verdict: ALLOW/);
  const rule = 'CiliumNetworkPolicy/production/allow-frontend-to-backend egress[0].toPorts[0]';
  expect(allowed).toContain(`* allow ${rule}`);
  expect(allowed).not.toContain('policy-compiler is away');
  const denied = await explain('trace', '--src-k8s-pod', from, '--dst-k8s-pod', to, '--dport', '8081/TCP');
  expect(denied).toContain('egress: DEFAULT-DENY');
  expect(denied).toContain('isolated by CiliumNetworkPolicy/production/allow-frontend-to-backend egress[0]');
  expect(denied).toContain(`nearest miss: port 8081, rule has 8080: ${rule}`);
});

const AUDITED = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: explained-audit
  namespace: production
  annotations: { policy.cilium-ts.io/audit: "true" }
spec:
  endpointSelector: { matchLabels: { app: backend } }
  ingressDeny:
    - fromEndpoints: [{ matchLabels: { app: frontend } }]
`;

test('flows name what an audited policy would drop, and the nearest miss of a drop', async () => {
  const [frontend] = (await pods('production', 'app=frontend')) as [PodInfo];
  const [backend] = (await pods('production', 'app=backend')) as [PodInfo];
  await apply(AUDITED);
  try {
    const observe = (verdict: string): Promise<string> =>
      inAgent(backend.node, 'hubble', 'observe', '--last', '20', '--verdict', verdict);
    await eventually('an audited flow that names the policy', async () => {
      expect(await fetchFrom(frontend, urlOf(backend.ipv4, 8080))).toContain(backend.name);
      return (await observe('AUDIT')).includes('CNP production/explained-audit ingressDeny[0]');
    });
    const to = `production/${backend.name}`;
    const text = await explain(
      'explain',
      '--from',
      `production/${frontend.name}`,
      '--to',
      to,
      '--port',
      '8080',
    );
    expect(text).toMatch(/^Final verdict: AUDIT/);
    expect(text).toContain('by CiliumNetworkPolicy/production/explained-audit ingressDeny[0]');
  } finally {
    await kubectl('delete', 'cnp', '-n', 'production', 'explained-audit');
  }
  await fetchFrom(frontend, urlOf(backend.ipv4, 8081), 1);
  const line = await eventually('a dropped flow with its nearest miss', async () => {
    const text = await inAgent(frontend.node, 'hubble', 'observe', '--last', '50', '--verdict', 'DROPPED');
    return text.split('\n').find((one) => one.includes('nearest miss: port 8081, rule has 8080'));
  });
  expect(line).toContain('(default deny egress; nearest miss');
  const json = await inAgent(
    frontend.node,
    'hubble',
    'observe',
    '--last',
    '50',
    '--verdict',
    'DROPPED',
    '-o',
    'json',
  );
  const uuid = /"uuid":"([^"]+)"[^\n]*allow-frontend-to-backend/.exec(json)?.[1];
  const explained = await inAgent(frontend.node, 'cilium', 'policy', 'explain', '--flow', uuid!);
  expect(explained).toContain('egress: DEFAULT-DENY');
});
