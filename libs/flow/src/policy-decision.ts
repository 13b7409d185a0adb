// SPDX-License-Identifier: Apache-2.0
// What the public Policy message has no room for: path, line and nearest miss, as a message of ours in a flow's extensions.
import { parseLabel } from '@cilium-ts/identity';
import { nearestMiss, type NearestMiss, type Origin, type PolicyFlow, type RuleSet } from '@cilium-ts/policy';
import { PolicyDecision, type Flow } from '@cilium-ts/proto';
import { portsOf } from './layer4.ts';
import type { FlowDecision } from './ports.ts';

export const POLICY_DECISION_TYPE = 'type.googleapis.com/cilium_ts.flow.v1.PolicyDecision';

/** Flows of one kind come in numbers, and many readers ask for the same ones. */
const misses = new WeakMap<RuleSet, Map<string, NearestMiss | undefined>>();
const MISSES_MAX = 256;
const ROWS_MAX = 5000;

/** @param protocol of the packet, as the policy was asked */
export function addPolicyDecision(
  flow: Flow,
  decision: FlowDecision | undefined,
  direction: PolicyFlow['direction'],
  protocol: number,
): void {
  if (!decision) return;
  const isDefault = decision.kind === 'default-deny';
  const origins: readonly Origin[] = isDefault ? decision.isolatedBy : [decision.origin];
  const miss =
    isDefault && decision.ruleSet ? missOf(flow, decision.ruleSet, direction, protocol) : undefined;
  const message = PolicyDecision.fromPartial({
    places: origins.map(({ path, line }) => ({ path, line })),
    defaultDeny: isDefault,
    ...(miss ? { nearestMiss: { ...miss.origin, text: miss.text } } : {}),
  });
  flow.extensions = {
    typeUrl: POLICY_DECISION_TYPE,
    value: Buffer.from(PolicyDecision.encode(message).finish()),
  };
}

function missOf(
  flow: Flow,
  ruleSet: RuleSet,
  direction: PolicyFlow['direction'],
  protocol: number,
): NearestMiss | undefined {
  if (ruleSet.rows.length > ROWS_MAX) return undefined;
  const { source, destination } = portsOf(flow.l4);
  const leaves = (direction === 'egress') !== (flow.isReply === true);
  const peer = leaves ? flow.destination : flow.source;
  const l4 = flow.l4?.protocol?.value as { type?: number } | undefined;
  const port = (flow.isReply ? source : destination) || (l4?.type ?? 0);
  const identity = peer?.identity ?? 0;
  const known = misses.get(ruleSet) ?? new Map<string, NearestMiss | undefined>();
  misses.set(ruleSet, known);
  const key = `${direction} ${identity} ${protocol} ${port}`;
  if (known.has(key)) return known.get(key);
  if (known.size >= MISSES_MAX) known.clear();
  const labels = (peer?.labels ?? []).map((text) => parseLabel(text));
  const miss = nearestMiss(ruleSet, labels, { direction, identity, protocol, port });
  known.set(key, miss);
  return miss;
}

/** Undefined where the flow has none, or another agent's. */
export function policyDecisionOf(flow: Flow): PolicyDecision | undefined {
  if (flow.extensions?.typeUrl !== POLICY_DECISION_TYPE) return undefined;
  try {
    return PolicyDecision.decode(flow.extensions.value);
  } catch {
    return undefined;
  }
}
