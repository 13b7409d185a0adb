// SPDX-License-Identifier: Apache-2.0
import type { Origin } from './rule-set.ts';

/** Equal for equal places. */
export function originKey(origin: Origin): string {
  return `${origin.kind}/${origin.namespace ?? ''}/${origin.name}/${origin.path}`;
}

/** Text order of origins: makes the choice between equal rules independent of their order of arrival. */
export function compareOrigins(a: Origin | undefined, b: Origin | undefined): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  const left = [a.kind, a.namespace ?? '', a.name, a.path];
  const right = [b.kind, b.namespace ?? '', b.name, b.path];
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! < right[i]! ? -1 : 1;
  return 0;
}
