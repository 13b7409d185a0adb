// SPDX-License-Identifier: Apache-2.0
// Tested: what `cilium policy explain` prints. How: an answer of the compiler as JSON, as text.
import { expect, test } from '@jest/globals';
import { ExplainResponse } from '@cilium-ts/proto';
import { explanationLines } from './commands/policy-explain.ts';

test('a default deny names the isolating policy and the nearest miss', () => {
  const origin = { kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'web', path: 'egress[0]', line: 2 };
  const nearestMiss = {
    text: 'port 81, rule has 80',
    origin: { ...origin, path: 'egress[0].toPorts[0]', line: 6 },
  };
  const host = { verdict: 'allow', tier: 'normal', audited: false, won: false };
  const answer = ExplainResponse.fromPartial({
    verdict: 'deny',
    port: 81,
    directions: [
      { direction: 'egress', verdict: 'default-deny', isolatedBy: [origin], nearestMiss },
      { direction: 'ingress', verdict: 'allow', origin, matched: [{ ...host, origin, won: true }, host] },
    ],
    notes: ['something'],
  });
  expect(explanationLines(ExplainResponse.fromJSON(ExplainResponse.toJSON(answer)), 'f.yaml')).toEqual([
    'Final verdict: DENY (port 81)',
    'egress: DEFAULT-DENY',
    '  isolated by CiliumNetworkPolicy/shop/web egress[0]:2',
    '  nearest miss: port 81, rule has 80: CiliumNetworkPolicy/shop/web egress[0].toPorts[0]:6',
    'ingress: ALLOW',
    '  by CiliumNetworkPolicy/shop/web egress[0]:2',
    '  * allow CiliumNetworkPolicy/shop/web egress[0]:2',
    '  - allow the local host may always reach its pods',
    'Note: something',
    'Lines are counted inside spec as kubectl get -o yaml prints it; of policies in f.yaml, in the file.',
  ]);
});
