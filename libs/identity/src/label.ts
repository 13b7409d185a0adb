// SPDX-License-Identifier: Apache-2.0

/** One label with its source: `k8s:app=frontend`, `reserved:host`, `cidr:10.0.0.0/8`. */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

export const LABEL_NAMESPACE = 'io.kubernetes.pod.namespace';
export const LABEL_NAMESPACE_LABELS = 'io.cilium.k8s.namespace.labels.';
export const LABEL_CLUSTER = 'io.cilium.k8s.policy.cluster';
export const LABEL_SERVICE_ACCOUNT = 'io.cilium.k8s.policy.serviceaccount';

/** Parses `source:key=value`; without a source it is `fallback`. A key may hold dots and slashes but no `=`. */
export function parseLabel(text: string, fallback = 'unspec'): Label {
  const equals = text.indexOf('=');
  const left = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? '' : text.slice(equals + 1);
  const { source, key } = parseLabelKey(left, fallback);
  return { source, key, value };
}

/** Splits `source:key`; `$key` is short for `reserved:key`. */
export function parseLabelKey(text: string, fallback: string): { source: string; key: string } {
  if (text.startsWith('$')) return { source: 'reserved', key: text.slice(1) };
  const colon = text.indexOf(':');
  if (colon < 0) return { source: fallback, key: text };
  return { source: text.slice(0, colon) || fallback, key: text.slice(colon + 1) };
}

export function formatLabel(label: Label): string {
  const left = `${label.source}:${label.key}`;
  return label.value === '' ? left : `${left}=${label.value}`;
}

/** A text that is equal for equal label sets: sorted, one label each `source:key=value;`. */
export function labelSetKey(labels: readonly Label[]): string {
  return labels
    .map((label) => `${label.source}:${label.key}=${label.value};`)
    .sort()
    .join('');
}

/** The `security-labels` map of a CiliumIdentity: `{"k8s:app": "frontend"}`. */
export function labelsToMap(labels: readonly Label[]): Record<string, string> {
  const sorted = [...labels].sort((a, b) => (formatLabel(a) < formatLabel(b) ? -1 : 1));
  return Object.fromEntries(sorted.map((label) => [`${label.source}:${label.key}`, label.value]));
}

export function labelsFromMap(map: Readonly<Record<string, string>>): Label[] {
  return Object.entries(map).map(([name, value]) => ({ ...parseLabelKey(name, 'k8s'), value }));
}
