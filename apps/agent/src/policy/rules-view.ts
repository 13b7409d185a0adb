// SPDX-License-Identifier: Apache-2.0
// The policies as objects, read from the API server when somebody asks: the agent itself works from compiled rule sets.
import type { PolicyModel, SelectorModel } from '@cilium-ts/agent-api';
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  NETWORK_POLICIES,
  type KubeClient,
  type KubeObject,
  type ResourceRef,
} from '@cilium-ts/kube';
import type { TableReader } from '@cilium-ts/tables';
import type { IdentityRow } from '../rows.ts';

interface PolicyObject extends KubeObject {
  readonly spec?: Record<string, unknown>;
  readonly specs?: readonly Record<string, unknown>[];
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly unknown[];
}

const KINDS = [CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, NETWORK_POLICIES] as const;
const TIMEOUT_MS = 5000;

interface Found {
  readonly kind: string;
  readonly object: PolicyObject;
  readonly rule: Record<string, unknown>;
}

async function readRules(client: KubeClient): Promise<Found[]> {
  const lists = await Promise.all(
    KINDS.map(async (ref) => {
      const { items } = await client.list(ref as ResourceRef<PolicyObject>, { timeoutMs: TIMEOUT_MS });
      return items.flatMap((object) =>
        [...(object.spec ? [object.spec] : []), ...(object.specs ?? [])].map((rule) => ({
          kind: ref.kind,
          object,
          rule,
        })),
      );
    }),
  );
  return lists.flat();
}

function ruleLabels({ kind, object }: Found): { key: string; value: string; source: string }[] {
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

function selects(selector: Selector, row: IdentityRow): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => {
    const name = key.replace(/^(any|k8s):/, '');
    return row.labels.includes(`k8s:${name}=${value}`);
  });
}

/** Subject selectors and the identities they select now. */
export async function selectorModels(
  client: KubeClient,
  identities: TableReader<IdentityRow>,
): Promise<SelectorModel[]> {
  const models = new Map<string, SelectorModel>();
  for (const found of await readRules(client)) {
    const subject = subjectOf(found);
    const selector = Object.entries(subject.matchLabels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(',');
    const known = models.get(selector);
    if (known) {
      models.set(selector, { ...known, users: known.users + 1 });
      continue;
    }
    const selected = [...identities.values()].filter((row) => row.id >= 256 && selects(subject, row));
    models.set(selector, {
      selector: `{${selector}}`,
      labels: ruleLabels(found),
      identities: selected.map((row) => row.id).sort((a, b) => a - b),
      users: 1,
    });
  }
  return [...models.values()];
}
