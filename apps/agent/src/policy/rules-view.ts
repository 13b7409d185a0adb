// SPDX-License-Identifier: Apache-2.0
// The policies as objects, read from the API server when somebody asks: the agent itself works from compiled rule sets.
import type { PolicyModel, SelectorModel } from '@cilium-ts/agent-api';
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  NETWORK_POLICIES,
  type KubeClient,
  type KubeObject,
  type ResourceRef,
} from '@cilium-ts/kube';
import { parsePolicy, type LabelSelector, type Requirement } from '@cilium-ts/policy';

interface PolicyObject extends KubeObject {
  readonly spec?: Record<string, unknown>;
  readonly specs?: readonly Record<string, unknown>[];
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly unknown[];
}

const KINDS = [
  CILIUM_NETWORK_POLICIES,
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
] as const;
const TIMEOUT_MS = 5000;

interface Found {
  readonly kind: string;
  readonly object: PolicyObject;
  readonly rule: Record<string, unknown>;
}

async function readObjects(client: KubeClient): Promise<Omit<Found, 'rule'>[]> {
  const lists = await Promise.all(
    KINDS.map(async (ref) => {
      const { items } = await client.list(ref as ResourceRef<PolicyObject>, { timeoutMs: TIMEOUT_MS });
      return items.map((object) => ({ kind: ref.kind, object }));
    }),
  );
  return lists.flat();
}

async function readRules(client: KubeClient): Promise<Found[]> {
  return (await readObjects(client)).flatMap(({ kind, object }) =>
    [...(object.spec ? [object.spec] : []), ...(object.specs ?? [])].map((rule) => ({ kind, object, rule })),
  );
}

function ruleLabels({ kind, object }: Omit<Found, 'rule'>): { key: string; value: string; source: string }[] {
  const { name, namespace, uid } = object.metadata;
  return [
    { key: 'io.cilium.k8s.policy.derived-from', value: kind, source: 'k8s' },
    { key: 'io.cilium.k8s.policy.name', value: name, source: 'k8s' },
    ...(namespace ? [{ key: 'io.cilium.k8s.policy.namespace', value: namespace, source: 'k8s' }] : []),
    { key: 'io.cilium.k8s.policy.uid', value: uid ?? '', source: 'k8s' },
  ];
}

function subjectOf({ rule, object }: Found): Selector {
  const selector = (rule['endpointSelector'] ?? rule['podSelector'] ?? {}) as Selector;
  const matchLabels: Record<string, string> = {};
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    matchLabels[/^(k8s|any|reserved):/.test(key) ? key : `any:${key}`] = value;
  }
  const { namespace } = object.metadata;
  if (namespace) matchLabels['k8s:io.kubernetes.pod.namespace'] = namespace;
  return { ...selector, matchLabels };
}

/** All rules, as `cilium policy get` prints them. */
export async function policyModel(client: KubeClient, revision: number): Promise<PolicyModel> {
  const rules = (await readRules(client)).map((found) => ({
    ...found.rule,
    endpointSelector: subjectOf(found),
    labels: ruleLabels(found),
  }));
  return { policy: JSON.stringify(rules, null, 2), revision };
}

/** `k8s:app=web`, `k8s:app in (a,b)`, `k8s:app`, `!k8s:app`, `k8s:app notin (a)`. */
function requirementText({ source, key, operator, values }: Requirement): string {
  const name = `${source}:${key}`;
  switch (operator) {
    case 'Exists':
      return name;
    case 'DoesNotExist':
      return `!${name}`;
    case 'In':
      return values.length === 1 ? `${name}=${values[0]}` : `${name} in (${values.join(',')})`;
    case 'NotIn':
      return `${name} notin (${values.join(',')})`;
  }
}

const selectorText = (selector: LabelSelector): string =>
  `{${selector.map(requirementText).sort().join(',')}}`;

/** Whom the rules of an object are for, and whom they name as peers by label. */
function selectorsOf(object: PolicyObject, kind: string, cluster: string): LabelSelector[] {
  const parsed = parsePolicy({ ...object, kind } as Parameters<typeof parsePolicy>[0], { cluster });
  if (!parsed.ok) return [];
  return parsed.value.rules.flatMap(({ on, subject, items }) => {
    const peers = items.flatMap(({ peers: list }) => (list === 'any' ? [] : list));
    const labels = peers.flatMap((peer) => (peer.kind === 'labels' ? [peer.selector] : []));
    return on === 'endpoints' ? [subject, ...labels] : labels;
  });
}

/** Selectors of all rules and the identities they select now. */
export async function selectorModels(
  client: KubeClient,
  cluster: string,
  select: (selector: LabelSelector) => ReadonlySet<number>,
): Promise<SelectorModel[]> {
  const models = new Map<string, SelectorModel>();
  for (const { kind, object } of await readObjects(client)) {
    for (const selector of selectorsOf(object, kind, cluster)) {
      const text = selectorText(selector);
      const known = models.get(text);
      const identities = known?.identities ?? [...select(selector)].sort((a, b) => a - b);
      const labels = known?.labels ?? ruleLabels({ kind, object });
      models.set(text, { selector: text, labels, identities, users: (known?.users ?? 0) + 1 });
    }
  }
  return [...models.values()];
}
