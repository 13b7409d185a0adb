// SPDX-License-Identifier: Apache-2.0
import {
  LABEL_CLUSTER,
  LABEL_NAMESPACE,
  LABEL_NAMESPACE_LABELS,
  LABEL_SERVICE_ACCOUNT,
  parseLabelKey,
  type Label,
} from './label.ts';

/** One rule of the label filter: a pattern that must match at the start of the key, optionally of one source only. */
interface FilterRule {
  readonly source: string | undefined;
  readonly pattern: RegExp;
  readonly include: boolean;
}

/** Decides which labels make an identity: the rule with the longest match wins; an exclusion wins a draw. */
export interface LabelFilter {
  readonly rules: readonly FilterRule[];
  /** False where the user listed what to include: then nothing else is. */
  readonly includeByDefault: boolean;
}

const INCLUDED = [
  'reserved:.*',
  'io\\.kubernetes\\.pod\\.namespace',
  'io\\.cilium\\.k8s\\.namespace\\.labels',
  'io\\.cilium\\.k8s\\.policy\\.cluster',
  'io\\.cilium\\.k8s\\.policy\\.serviceaccount',
  'app\\.kubernetes\\.io',
];

const EXCLUDED = [
  'io\\.kubernetes',
  'kubernetes\\.io',
  'statefulset\\.kubernetes\\.io/pod-name',
  'apps\\.kubernetes\\.io/pod-index',
  'batch\\.kubernetes\\.io/job-completion-index',
  'batch\\.kubernetes\\.io/controller-uid',
  '.*beta\\.kubernetes\\.io',
  'k8s\\.io',
  'pod-template-generation',
  'pod-template-hash',
  'controller-revision-hash',
  'controller-uid',
  'annotation.*',
  'etcd_node',
  'topology\\.kubernetes\\.io',
];

function filterRule(text: string, include: boolean): FilterRule {
  const { source, key } = parseLabelKey(text, '');
  return { source: source === '' ? undefined : source, pattern: new RegExp(`^(?:${key})`), include };
}

/**
 * The filter for the `labels` configuration key: words of regular expressions, `!` in front excludes, `source:` limits.
 * @throws SyntaxError for an invalid expression
 */
export function labelFilter(config = ''): LabelFilter {
  const rules = [
    ...INCLUDED.map((text) => filterRule(text, true)),
    ...EXCLUDED.map((text) => filterRule(text, false)),
  ];
  const own = config.split(/\s+/).filter((word) => word !== '');
  for (const word of own) rules.push(filterRule(word.replace(/^!/, ''), !word.startsWith('!')));
  return { rules, includeByDefault: !own.some((word) => !word.startsWith('!')) };
}

export const DEFAULT_LABEL_FILTER = labelFilter();

export function isSecurityRelevant(label: Label, filter: LabelFilter = DEFAULT_LABEL_FILTER): boolean {
  let included = -1;
  let excluded = -1;
  for (const rule of filter.rules) {
    if (rule.source !== undefined && rule.source !== label.source) continue;
    const length = rule.pattern.exec(label.key)?.[0].length ?? -1;
    if (rule.include) included = Math.max(included, length);
    else excluded = Math.max(excluded, length);
  }
  if (included < 0 && excluded < 0) return filter.includeByDefault;
  return included > excluded;
}

export interface PodIdentityInput {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** Empty counts as `default`, as the API server fills it in. */
  readonly serviceAccount: string;
  readonly cluster: string;
}

/** The labels that make a pod's identity, sorted by key. */
export function podIdentityLabels(
  pod: PodIdentityInput,
  filter: LabelFilter = DEFAULT_LABEL_FILTER,
): Label[] {
  const all = new Map(Object.entries(pod.labels));
  for (const [key, value] of Object.entries(pod.namespaceLabels))
    all.set(LABEL_NAMESPACE_LABELS + key, value);
  all.set(LABEL_NAMESPACE, pod.namespace);
  all.set(LABEL_CLUSTER, pod.cluster);
  all.set(LABEL_SERVICE_ACCOUNT, pod.serviceAccount || 'default');
  const labels = [...all].map(([key, value]) => ({ source: 'k8s', key, value }));
  return labels.filter((label) => isSecurityRelevant(label, filter)).sort((a, b) => (a.key < b.key ? -1 : 1));
}
