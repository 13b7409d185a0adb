// SPDX-License-Identifier: Apache-2.0
import type { Origin } from './rule-set.ts';

const keys = new WeakMap<Origin, string>();

/** Equal for equal places; remembered by object. Its order is that of kind, namespace, name and path. */
export function originKey(origin: Origin): string {
  let key = keys.get(origin);
  if (key === undefined) {
    key = [origin.kind, origin.namespace ?? '', origin.name, origin.path].join('\0');
    keys.set(origin, key);
  }
  return key;
}

/** Text order of origins: makes the choice between equal rules independent of their order of arrival. */
export function compareOrigins(a: Origin | undefined, b: Origin | undefined): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  const left = originKey(a);
  const right = originKey(b);
  return left === right ? 0 : left < right ? -1 : 1;
}
