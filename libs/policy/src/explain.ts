// SPDX-License-Identifier: Apache-2.0
// Why a flow passes or not: the rows that match it in the order of their say, the one that decides, and what came closest.
// Works on a rule set, so the compiler, an agent without it and the flows of Hubble all give one answer.
import type { Label } from '@cilium-ts/identity';
import { decide } from './decide.ts';
import { tierOf } from './level.ts';
import type { PolicyFlow } from './lookup.ts';
import { indexLabels, matcherOf } from './matcher.ts';
import { nearestMiss, type NearestMiss } from './nearest-miss.ts';
import { originKey } from './origin.ts';
import type { Direction, Origin, RowVerdict, RuleRow, RuleSet, Tier, Verdict } from './rule-set.ts';

/** `default-deny` and `default-allow`: no rule decided. `unenforced`: allowed only under a condition that nothing enforces. */
export type ExplainedVerdict = Verdict | 'default-deny' | 'default-allow';

export interface MatchedRule {
  readonly verdict: RowVerdict;
  readonly tier: Tier;
  /** Absent: the local host's standing permission. */
  readonly origin?: Origin;
  readonly audited: boolean;
  /** This one decided. */
  readonly won: boolean;
}

export interface Explanation {
  readonly direction: Direction;
  readonly verdict: ExplainedVerdict;
  /** The rule that decided; for an audited default deny the first policy that isolates. */
  readonly origin?: Origin;
  /** Every rule that matches the flow, those with more say first. */
  readonly matched: readonly MatchedRule[];
  /** The policies that isolate: for a default deny, and for audited ones. */
  readonly isolatedBy: readonly Origin[];
  /** For a default deny: the rule that came closest. */
  readonly nearestMiss?: NearestMiss;
}

/** Decides a flow from a rule set and the labels of its other side. */
export function explainRuleSet(ruleSet: RuleSet, peer: readonly Label[], flow: PolicyFlow): Explanation {
  const { direction } = flow;
  const rows = matchingRows(ruleSet, peer, flow);
  const audited = ruleSet.auditedBy[direction];
  const auditOrigin = audited[0] ? originNumber(ruleSet, audited[0]) : 0;
  const outcome = decide(ruleSet, direction, rows, auditOrigin);
  const winner =
    outcome && rows.find((row) => row.origin === outcome.origin && row.verdict !== 'pass' && row.origin > 0);
  const matched = rows.map((row) => matchedRule(ruleSet, row, row === winner));
  if (!outcome) {
    const miss = nearestMiss(ruleSet, peer, flow);
    const isolatedBy = ruleSet.isolatedBy[direction];
    const answer = { direction, verdict: 'default-deny', matched, isolatedBy } as const;
    return miss ? { ...answer, nearestMiss: miss } : answer;
  }
  const origin = ruleSet.origins[outcome.origin - 1];
  if (!origin) {
    const verdict = outcome.verdict === 'allow' && rows.length === 0 ? 'default-allow' : outcome.verdict;
    return { direction, verdict, matched, isolatedBy: [] };
  }
  const isolatedBy = outcome.verdict === 'audit' && !winner ? audited : [];
  return { direction, verdict: outcome.verdict, origin, matched, isolatedBy };
}

/** Highest say first, as the rows of a rule set are. */
function matchingRows(ruleSet: RuleSet, peer: readonly Label[], flow: PolicyFlow): RuleRow[] {
  const labels = indexLabels(peer);
  const selected = new Map<number, boolean>([[0, true]]);
  const isSelected = (selector: number): boolean => {
    let answer = selected.get(selector);
    if (answer === undefined)
      selected.set(selector, (answer = matcherOf(ruleSet.selectors[selector - 1]!)(labels)));
    return answer;
  };
  return ruleSet.rows.filter(
    (row) =>
      row.direction === flow.direction &&
      (row.protocol === 0 ||
        (row.protocol === flow.protocol && row.from <= flow.port && flow.port <= row.to)) &&
      isSelected(row.selector),
  );
}

function matchedRule(ruleSet: RuleSet, row: RuleRow, won: boolean): MatchedRule {
  const origin = ruleSet.origins[row.origin - 1];
  const rule = { verdict: row.verdict, tier: tierOf(row.level), audited: row.audited, won };
  return origin ? { ...rule, origin } : rule;
}

function originNumber(ruleSet: RuleSet, origin: Origin): number {
  const key = originKey(origin);
  return ruleSet.origins.findIndex((one) => originKey(one) === key) + 1;
}
