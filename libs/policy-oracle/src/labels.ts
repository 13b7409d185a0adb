// SPDX-License-Identifier: Apache-2.0
import { parsePrefix, prefixContains, type Prefix } from '@cilium-ts/net';

/** A label selector as written in any of the APIs. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** One requirement; `source` `any` matches every source. */
export interface Requirement {
  readonly source: string;
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

export const NAMESPACE = 'io.kubernetes.pod.namespace';
export const NAMESPACE_LABELS = 'io.cilium.k8s.namespace.labels.';
export const CLUSTER = 'io.cilium.k8s.policy.cluster';

/** `k8s:app=web` -> its three parts; a key without source has source `any`. */
export function parseLabel(text: string): Label {
  const equals = text.indexOf('=');
  const full = equals < 0 ? text : text.slice(0, equals);
  const colon = full.indexOf(':');
  return {
    source: colon < 0 ? 'any' : full.slice(0, colon),
    key: full.slice(colon + 1),
    value: equals < 0 ? '' : text.slice(equals + 1),
  };
}

/** All requirements of a selector, AND-ed; `source` is given to keys that name none. */
export function requirements(selector: LabelSelector, source = 'any'): Requirement[] {
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }));
  return [...labels, ...(selector.matchExpressions ?? [])].map(({ key, operator, values }) => {
    const colon = key.indexOf(':');
    return {
      source: colon < 0 ? source : key.slice(0, colon),
      key: key.slice(colon + 1),
      operator: operator as Requirement['operator'],
      values: values ?? [],
    };
  });
}

export function requires(source: string, key: string, ...values: string[]): Requirement {
  return { source, key, operator: values.length ? 'In' : 'Exists', values };
}

/** The prefix of a `cidr:` key, in which the colons of IPv6 are dashes. */
export function cidrOfKey(key: string): Prefix | undefined {
  return parsePrefix(key.replaceAll('-', ':'));
}

function matchesOne(requirement: Requirement, labels: readonly Label[]): boolean {
  const { source, key, operator, values } = requirement;
  const wanted = source === 'cidr' ? cidrOfKey(key) : undefined;
  const found = labels.filter((label) => {
    if (source !== 'any' && label.source !== source) return false;
    if (!wanted) return label.key === key;
    const held = cidrOfKey(label.key);
    return held !== undefined && prefixContains(wanted, held);
  });
  if (operator === 'Exists') return found.length > 0;
  if (operator === 'DoesNotExist') return found.length === 0;
  const inValues = found.some((label) => values.includes(label.value));
  return operator === 'In' ? inValues : !inValues;
}

/** True where every requirement holds. */
export function matches(wanted: readonly Requirement[], labels: readonly string[]): boolean {
  const parsed = labels.map(parseLabel);
  return wanted.every((requirement) => matchesOne(requirement, parsed));
}
