// SPDX-License-Identifier: Apache-2.0
// Which of the rows that match a flow decides it: tiers in order, levels in order, Pass, ranks. Needed where a row can take
// others out of the decision (Pass) or is not to count (audit); elsewhere precedence alone gives the same answer.
import { tierOf } from './level.ts';
import type { Direction, RuleRow, RuleSet, Verdict } from './rule-set.ts';

export interface Outcome {
  readonly verdict: Verdict;
  /** As in a map entry. */
  readonly origin: number;
}

type Answer = Outcome | 'default-deny';

interface Base {
  /** Some rule of the normal tier isolates: final before the baseline tier. */
  readonly isolated: boolean;
  readonly defaultDeny: boolean;
}

/** Decides among rows sorted by precedence, highest first. */
function decideRows(rows: readonly RuleRow[], base: Base): Answer {
  let i = 0;
  for (const tier of ['admin', 'normal', 'baseline'] as const) {
    const first = rows[i];
    if (first && tierOf(first.level) === tier) {
      // Inside a level Pass has the lowest rank, so it is met first only where nothing else is there.
      if (first.verdict !== 'pass') return { verdict: first.verdict, origin: first.origin };
      while (i < rows.length && tierOf(rows[i]!.level) === tier) i++;
    }
    if (tier === 'normal' && base.isolated) return 'default-deny';
  }
  return base.defaultDeny ? 'default-deny' : { verdict: 'allow', origin: 0 };
}

/**
 * What a node's map must say of a flow that exactly these rows match; undefined where it must not match anything.
 * @param rows highest precedence first
 * @param auditOrigin origin of the audited policies that isolate, as in a map entry
 */
export function decide(
  ruleSet: RuleSet,
  direction: Direction,
  rows: readonly RuleRow[],
  auditOrigin: number,
): Outcome | undefined {
  const isolated = ruleSet.isolatedBy[direction].length > 0;
  const defaultDeny = ruleSet.defaultDeny[direction];
  const enforced = rows.some((row) => row.audited) ? rows.filter((row) => !row.audited) : rows;
  const real = decideRows(enforced, { isolated, defaultDeny });
  if (real === 'default-deny') return undefined;
  if (real.verdict !== 'allow') return real;
  const audited = ruleSet.auditedBy[direction].length > 0;
  if (enforced === rows && !audited) return real;
  const asked = decideRows(rows, { isolated: isolated || audited, defaultDeny: defaultDeny || audited });
  // Where no audited policy isolates, an audited Pass led past the rule that accepts.
  const cause = auditOrigin || (rows.find((row) => row.audited)?.origin ?? 0);
  if (asked === 'default-deny') return { verdict: 'audit', origin: cause };
  return asked.verdict === 'allow' ? real : { verdict: 'audit', origin: asked.origin };
}
