// SPDX-License-Identifier: Apache-2.0
// Selectors asked often: labels are indexed once per identity, selectors are made ready once.
import type { Label } from '@cilium-ts/identity';
import { mappedBytes, mappedPrefixLength, parsePrefix } from '@cilium-ts/net';
import type { LabelSelector, Requirement } from './selector.ts';

/** A prefix as four words of its IPv4-mapped form, and its length there. */
interface Prefix {
  readonly words: readonly [number, number, number, number];
  readonly bits: number;
}

export interface IndexedLabels {
  /** `source:key` and `any:key` to the values it has. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly prefixes: readonly Prefix[];
}

function prefixOf(key: string): Prefix | undefined {
  const parsed = parsePrefix(key.replaceAll('-', ':'));
  if (!parsed) return undefined;
  const bytes = mappedBytes(parsed.address);
  if (!bytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return {
    words: [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)],
    bits: mappedPrefixLength(parsed.family, parsed.bits),
  };
}

function contains(outer: Prefix, inner: Prefix): boolean {
  if (inner.bits < outer.bits) return false;
  for (let i = 0, left = outer.bits; left > 0; i++, left -= 32) {
    const mask = left >= 32 ? -1 : ~(0xffff_ffff >>> left);
    if ((outer.words[i]! ^ inner.words[i]!) & mask) return false;
  }
  return true;
}

export function indexLabels(labels: readonly Label[]): IndexedLabels {
  const values = new Map<string, string[]>();
  const prefixes: Prefix[] = [];
  for (const { source, key, value } of labels) {
    for (const name of [`${source}:${key}`, `any:${key}`]) {
      const known = values.get(name);
      if (known) known.push(value);
      else values.set(name, [value]);
    }
    const prefix = source === 'cidr' ? prefixOf(key) : undefined;
    if (prefix) prefixes.push(prefix);
  }
  return { values, prefixes };
}

export type Matcher = (labels: IndexedLabels) => boolean;

function requirementMatcher({ source, key, operator, values }: Requirement): Matcher {
  if (source === 'cidr') {
    // CIDR keys match by containment: the label's prefix lies inside the requirement's.
    const outer = prefixOf(key);
    const inside: Matcher = ({ prefixes }) =>
      outer !== undefined && prefixes.some((inner) => contains(outer, inner));
    return operator === 'Exists' || operator === 'In' ? inside : (labels) => !inside(labels);
  }
  const name = `${source}:${key}`;
  switch (operator) {
    case 'Exists':
      return (labels) => labels.values.has(name);
    case 'DoesNotExist':
      return (labels) => !labels.values.has(name);
    case 'In':
      return (labels) => labels.values.get(name)?.some((value) => values.includes(value)) ?? false;
    case 'NotIn':
      return (labels) => !labels.values.get(name)?.some((value) => values.includes(value));
  }
}

export function matcherOf(selector: LabelSelector): Matcher {
  const [only, ...rest] = selector.map(requirementMatcher);
  if (!only) return () => true;
  if (rest.length === 0) return only;
  return (labels) => only(labels) && rest.every((matches) => matches(labels));
}
