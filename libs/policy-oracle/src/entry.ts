// SPDX-License-Identifier: Apache-2.0
import type { Direction, Origin, World } from './world.ts';
import { matches, type Requirement } from './labels.ts';

export type Tier = 'Admin' | 'Normal' | 'Baseline';

/** Ports `low` to `high` of one protocol, both included; types for ICMP. */
export interface PortRange {
  readonly protocol: number;
  readonly low: number;
  readonly high: number;
  /** From a name that stands for several numbers. */
  readonly ambiguous?: boolean;
}

/** Ranks of allow entries inside a level; a deny has 255. */
export const RANK = {
  deny: 255,
  redirect: (priority: number): number => 254 - priority,
  condition: 2,
  plain: 1,
  /** Peers nobody can tell yet: yields to every allow of its level. */
  unknown: 0,
} as const;

/** One flattened entry whose subject selects the judged endpoint. */
export interface Entry {
  readonly tier: Tier;
  readonly priority: number;
  readonly direction: Direction;
  readonly verdict: 'allow' | 'deny' | 'pass';
  readonly peers: 'any' | ReadonlySet<number>;
  readonly services: 'any' | readonly PortRange[];
  readonly defaultDeny: boolean;
  readonly rank: number;
  readonly audited: boolean;
  readonly origin: Origin;
}

/** The identities of the world that satisfy the requirements. */
export function selectIdentities(world: World, wanted: readonly Requirement[]): Set<number> {
  return new Set([...world.identities].filter(([, labels]) => matches(wanted, labels)).map(([id]) => id));
}

export function union(sets: readonly ReadonlySet<number>[]): Set<number> {
  return new Set(sets.flatMap((set) => [...set]));
}
