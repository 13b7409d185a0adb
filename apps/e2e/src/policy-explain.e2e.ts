// SPDX-License-Identifier: Apache-2.0
// Tested: why a flow of the seed passes or not, to the line. How: cilium policy explain in the agent's pod.
import { expect, test } from '@jest/globals';
import { kubectl, pods, type PodInfo } from './cluster.ts';

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
