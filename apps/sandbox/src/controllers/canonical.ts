// SPDX-License-Identifier: Apache-2.0

/** JSON with sorted keys and without undefined, null and empty values: equal for objects that mean the same. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    const sorted: Record<string, unknown> = {};
    for (const key of Object.keys(part).sort()) {
      const item = (part as Record<string, unknown>)[key];
      if (!isEmpty(item)) sorted[key] = item;
    }
    return sorted;
  });
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (Array.isArray(value)) return value.length === 0;
  // An empty object may carry meaning (emptyDir: {}), an empty map of labels does not: keep it.
  return false;
}

export function sameJson(a: unknown, b: unknown): boolean {
  return a === b || canonicalJson(a) === canonicalJson(b);
}

/** Letters that make no words, as Kubernetes uses them in generated names. */
const SAFE = 'bcdfghjklmnpqrstvwxz2456789';

/** A short name-safe hash of a value (FNV-1a over its canonical JSON). */
export function safeHash(value: unknown, salt = 0): string {
  let hash = 0x811c9dc5 ^ salt;
  for (const char of canonicalJson(value)) {
    hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return String(hash).replace(/\d/g, (digit) => SAFE[Number(digit) * 2]!);
}
