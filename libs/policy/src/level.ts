// SPDX-License-Identifier: Apache-2.0
// Tiers and priorities as one number, and that number with a rank as the precedence of a map entry. The numbers are fixed
// with gaps between them, so that a policy that comes or goes moves nobody else's.
import type { Tier } from './rule-set.ts';

const TIER_SIZE = 0x20_0000;
const TIERS: readonly Tier[] = ['admin', 'normal', 'baseline'];

/** @param priority below 2^21, lower decides first */
export function levelOf(tier: Tier, priority: number): number {
  return TIERS.indexOf(tier) * TIER_SIZE + priority;
}

export function tierOf(level: number): Tier {
  return TIERS[Math.floor(level / TIER_SIZE)]!;
}

/** Higher wins: first by level, then by rank (0 to 255) inside it. */
export function precedenceOf(level: number, rank: number): number {
  return (0xff_ffff - level) * 256 + rank;
}

/** Below everything a rule gives: the allow-all of a direction that is not in default deny. */
export const PRECEDENCE_DEFAULT = 1;
