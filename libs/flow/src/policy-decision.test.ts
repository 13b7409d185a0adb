// SPDX-License-Identifier: Apache-2.0
// Tested: path, line and nearest miss in a flow's extensions, and on the printed line. How: a default deny of one rule set.
import { expect, test } from '@jest/globals';
import type { Origin, RuleRow, RuleSet } from '@cilium-ts/policy';
import { Flow } from '@cilium-ts/proto';
import { POLICY_DECISION_TYPE, addPolicyDecision, policyDecisionOf } from './policy-decision.ts';
import { deniedBySuffix, policiesOf } from './policy-names.ts';

const origin: Origin = { kind: 'CiliumClusterwideNetworkPolicy', name: 'web', path: 'egress[0]', line: 2 };
const both = <T>(value: T) => ({ ingress: value, egress: value });
const row: RuleRow = {
  direction: 'egress',
  verdict: 'allow',
  level: 0x20_0000,
  rank: 1,
  selector: 0,
  protocol: 6,
  from: 8080,
  to: 8080,
  origin: 1,
  audited: false,
};
const ruleSet: RuleSet = {
  id: 'x',
  enforced: both(true),
  defaultDeny: both(true),
  selectors: [],
  rows: [row],
  origins: [origin],
  isolatedBy: both([origin]),
  auditedBy: both([]),
};

test('a default deny carries place and nearest miss, and the line says both', () => {
  const decision = { kind: 'default-deny', isolatedBy: [origin], ruleSet } as const;
  const l4 = {
    protocol: { $case: 'TCP', value: { sourcePort: 4, destinationPort: 8081, flags: undefined } },
  };
  const flow = Flow.fromPartial({ l4: l4 as never, egressDeniedBy: policiesOf(decision) });
  addPolicyDecision(flow, decision, 'egress', 6);
  expect(flow.extensions?.typeUrl).toBe(POLICY_DECISION_TYPE);
  expect(policyDecisionOf(Flow.decode(Flow.encode(flow).finish()))).toEqual({
    places: [{ path: 'egress[0]', line: 2 }],
    defaultDeny: true,
    nearestMiss: { ...origin, namespace: '', text: 'port 8081, rule has 8080' },
  });
  expect(deniedBySuffix(flow)).toBe(
    ' BY CCNP web egress[0] (spec line 2) (default deny egress; nearest miss: port 8081, rule has 8080: CCNP web egress[0])',
  );
});
