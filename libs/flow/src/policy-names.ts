// SPDX-License-Identifier: Apache-2.0
// Policies in flows: the public message has name, namespace and kind; path and line ride in its labels.
import type { Flow, Policy } from '@cilium-ts/proto';
import { formatOriginObject, type Origin, type PolicyKind } from '@cilium-ts/policy';
import { policyDecisionOf } from './policy-decision.ts';
import type { FlowDecision } from './ports.ts';

const PATH = 'cilium-ts.io/path=';
const LINE = 'cilium-ts.io/line=';
const DEFAULT_DENY = 'cilium-ts.io/default-deny=true';

const NONE: Policy[] = [];

export function policiesOf(decision: FlowDecision | undefined): Policy[] {
  if (!decision) return NONE;
  if (decision.kind === 'origin') return [policy(decision.origin, [])];
  return decision.isolatedBy.map((origin) => policy(origin, [DEFAULT_DENY]));
}

function policy(origin: Origin, more: readonly string[]): Policy {
  return {
    name: origin.name,
    namespace: origin.namespace ?? '',
    kind: origin.kind,
    labels: [`${PATH}${origin.path}`, `${LINE}${origin.line}`, ...more],
    revision: 0n,
  };
}

const labelValue = (policy: Policy, prefix: string): string | undefined =>
  policy.labels.find((label) => label.startsWith(prefix))?.slice(prefix.length);

/** `CNP production/web egress[0].toPorts[0] (spec line 7)`; clients of other agents see only the object. */
export function formatPolicy(policy: Policy): string {
  const { name, namespace } = policy;
  const kind = policy.kind as PolicyKind;
  const object = formatOriginObject({ kind, name, ...(namespace === '' ? {} : { namespace }) });
  const known = object.startsWith('undefined')
    ? `${policy.kind} ${namespace ? `${namespace}/` : ''}${name}`.trim()
    : object;
  const path = labelValue(policy, PATH);
  const line = labelValue(policy, LINE);
  const where = path ? ` ${path}` : '';
  return `${known}${where}${line && line !== '0' ? ` (spec line ${line})` : ''}`;
}

export interface PolicyWords {
  /** `CNP a/b egress[0] (spec line 2)`, one per policy. */
  readonly policies: readonly string[];
  /** No rule matched: these are the policies that isolate the endpoint. */
  readonly defaultDeny: 'ingress' | 'egress' | undefined;
}

/** The policies that denied the flow; undefined where none is named. */
export function deniedBy(flow: Flow): PolicyWords | undefined {
  const egress = flow.egressDeniedBy.length > 0;
  const policies = egress ? flow.egressDeniedBy : flow.ingressDeniedBy;
  if (policies.length === 0) return undefined;
  const isDefault = policies.every((entry) => entry.labels.includes(DEFAULT_DENY));
  const direction = egress ? ('egress' as const) : ('ingress' as const);
  return { policies: policies.map(formatPolicy), defaultDeny: isDefault ? direction : undefined };
}

const PLACELESS = { labels: [], revision: 0n };

/** ` BY CNP a/b egress[0] (spec line 2) (default deny egress)`, or nothing. */
export function deniedBySuffix(flow: Flow): string {
  const words = deniedBy(flow);
  if (!words) return '';
  const miss = policyDecisionOf(flow)?.nearestMiss;
  const near = miss
    ? `; nearest miss: ${miss.text}: ${formatPolicy({ ...miss, ...PLACELESS })} ${miss.path}`
    : '';
  const reason = words.defaultDeny ? ` (default deny ${words.defaultDeny}${near})` : '';
  return ` BY ${words.policies.join(', ')}${reason}`;
}
