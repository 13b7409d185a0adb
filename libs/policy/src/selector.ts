// SPDX-License-Identifier: Apache-2.0
import { parseLabelKey } from '@cilium-ts/identity';
import type { Reader } from './problem.ts';

export type Operator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';

/** One condition on a label set. Source `any` matches labels of every source. */
export interface Requirement {
  readonly source: string;
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** All requirements must hold; none at all selects everything. */
export type LabelSelector = readonly Requirement[];

export function requireValue(source: string, key: string, value: string): Requirement {
  return { source, key, operator: 'In', values: [value] };
}

export function requireKey(source: string, key: string): Requirement {
  return { source, key, operator: 'Exists', values: [] };
}

const keys = new WeakMap<LabelSelector, string>();

/** Equal for selectors that mean the same requirements, whatever their order; remembered by object. */
export function selectorKey(selector: LabelSelector): string {
  let key = keys.get(selector);
  if (key === undefined) {
    key = selector.map(requirementKey).sort().join(';');
    keys.set(selector, key);
  }
  return key;
}

function requirementKey({ source, key, operator, values }: Requirement): string {
  return `${source}:${key} ${operator} ${values.length > 1 ? [...values].sort().join(',') : (values[0] ?? '')}`;
}

const OPERATORS: readonly string[] = ['In', 'NotIn', 'Exists', 'DoesNotExist'];
const NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$/;
const DNS_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
/** Sources whose keys are not Kubernetes label names. */
const FREE_SOURCES: readonly string[] = ['cidr', 'cidrgroup', 'fqdn', 'reserved'];

/** Parses a label selector; `source` is given to keys without one (`any` in Cilium's kinds, `k8s` in Kubernetes'). */
export function parseSelector(read: Reader, value: unknown, path: string, source: string): LabelSelector {
  const object = read.object(value, path, ['matchLabels', 'matchExpressions']);
  if (!object) return [];
  const requirements: Requirement[] = [];
  const labels = object['matchLabels'];
  if (labels !== undefined && labels !== null) {
    if (typeof labels !== 'object' || Array.isArray(labels))
      read.fail(`${path}.matchLabels`, 'must be an object');
    else
      parseMatchLabels(read, labels as Record<string, unknown>, `${path}.matchLabels`, source, requirements);
  }
  read.list(object['matchExpressions'], `${path}.matchExpressions`)?.forEach((expression, index) => {
    const requirement = parseExpression(read, expression, `${path}.matchExpressions[${index}]`, source);
    if (requirement) requirements.push(requirement);
  });
  return requirements;
}

function parseMatchLabels(
  read: Reader,
  labels: Record<string, unknown>,
  path: string,
  source: string,
  into: Requirement[],
): void {
  for (const [name, raw] of Object.entries(labels)) {
    const value = read.text(raw, `${path}.${name}`) ?? '';
    const parsed = parseKey(read, name, `${path}.${name}`, source);
    checkValue(read, parsed.source, value, `${path}.${name}`);
    into.push(requireValue(parsed.source, parsed.key, value));
  }
}

function parseExpression(
  read: Reader,
  value: unknown,
  path: string,
  source: string,
): Requirement | undefined {
  const object = read.object(value, path, ['key', 'operator', 'values']);
  if (!object) return undefined;
  const name = read.text(object['key'], `${path}.key`) ?? '';
  const operator = read.text(object['operator'], `${path}.operator`) ?? '';
  const parsed = parseKey(read, name, `${path}.key`, source);
  const values = (read.list(object['values'], `${path}.values`) ?? []).map(
    (item, index) => read.text(item, `${path}.values[${index}]`) ?? '',
  );
  if (!OPERATORS.includes(operator)) {
    read.fail(`${path}.operator`, `${JSON.stringify(operator)} is not one of ${OPERATORS.join(', ')}`);
    return undefined;
  }
  const needsValues = operator === 'In' || operator === 'NotIn';
  if (needsValues && values.length === 0)
    read.fail(`${path}.values`, `must not be empty with operator ${operator}`);
  if (!needsValues && values.length > 0)
    read.fail(`${path}.values`, `must be empty with operator ${operator}`);
  values.forEach((item, index) => checkValue(read, parsed.source, item, `${path}.values[${index}]`));
  return { ...parsed, operator: operator as Operator, values };
}

function parseKey(read: Reader, name: string, path: string, source: string): { source: string; key: string } {
  const parsed = source === 'k8s' ? { source, key: name } : parseLabelKey(name, source);
  if (FREE_SOURCES.includes(parsed.source)) {
    if (parsed.key === '') read.fail(path, 'the label key is empty');
    return parsed;
  }
  const slash = parsed.key.lastIndexOf('/');
  const prefix = slash < 0 ? undefined : parsed.key.slice(0, slash);
  const bare = parsed.key.slice(slash + 1);
  // Namespace labels carry a prefix of ours in front of a whole key, so they may hold more than one part.
  const longPrefix = parsed.key.startsWith('io.cilium.k8s.namespace.labels.');
  if (bare.length === 0 || (bare.length > 63 && !longPrefix) || !NAME.test(bare)) {
    read.fail(
      path,
      `invalid label key ${JSON.stringify(name)}: the name must be 1 to 63 letters, digits, - _ . and begin and end with a letter or digit`,
    );
  } else if (prefix !== undefined && (prefix.length > 253 || !DNS_NAME.test(prefix))) {
    read.fail(path, `invalid label key ${JSON.stringify(name)}: the prefix must be a DNS name`);
  }
  return parsed;
}

function checkValue(read: Reader, source: string, value: string, path: string): void {
  if (FREE_SOURCES.includes(source)) return;
  if (value.length > 63 || !VALUE.test(value)) {
    read.fail(
      path,
      `invalid label value ${JSON.stringify(value)}: at most 63 letters, digits, - _ . that begin and end with a letter or digit`,
    );
  }
}
