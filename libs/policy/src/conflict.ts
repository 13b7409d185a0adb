// SPDX-License-Identifier: Apache-2.0
// Rules that no proxy could carry out together: for the same peers and ports of one subject they want different things.
import { selectorCovers } from './cover.ts';
import type { Finding } from './review.ts';
import type { ConditionTerm, ParsedPolicy, PortMatch, Rule, RuleItem } from './rule.ts';
import { formatOriginObject, type Origin } from './rule-set.ts';
import { selectorKey } from './selector.ts';

interface Term {
  readonly policy: ParsedPolicy;
  readonly rule: Rule;
  readonly about: ConditionTerm;
  readonly value: string;
  readonly origin: Origin;
}

function peersKey({ peers }: RuleItem): string {
  if (peers === 'any') return 'any';
  const texts = peers.map((peer) =>
    peer.kind === 'labels' ? selectorKey(peer.selector) : JSON.stringify(peer),
  );
  return texts.sort().join('|');
}

function portKeys(match: PortMatch | undefined): string[] {
  if (!match) return ['any'];
  return match.protocols.map((protocol) => `${protocol} ${match.name ?? `${match.from}-${match.to}`}`);
}

/** Terms by direction, peers, port and what they are about. */
function collectTerms(policies: readonly ParsedPolicy[]): Map<string, Term[]> {
  const found = new Map<string, Term[]>();
  const add = (policy: ParsedPolicy, rule: Rule, item: RuleItem, match: PortMatch | undefined): void => {
    const terms = { ...item.unenforced?.terms, ...match?.unenforced?.terms };
    for (const [about, value] of Object.entries(terms) as [ConditionTerm, string][]) {
      for (const port of portKeys(match)) {
        const key = [item.direction, peersKey(item), port, about].join(' / ');
        const term = { policy, rule, about, value, origin: match?.origin ?? item.origin };
        const list = found.get(key);
        if (list) list.push(term);
        else found.set(key, [term]);
      }
    }
  };
  for (const policy of policies)
    for (const rule of policy.rules)
      for (const item of rule.items) {
        if (item.action !== 'allow') continue;
        for (const match of item.ports === 'any' ? [undefined] : item.ports) add(policy, rule, item, match);
      }
  return found;
}

function shareSubjects(a: Rule, b: Rule): boolean {
  return a.on === b.on && (selectorCovers(a.subject, b.subject) || selectorCovers(b.subject, a.subject));
}

/** Two values, one of which cannot be had; listeners of different ranks are no conflict: the higher one goes first. */
function exclude(a: Term, b: Term): boolean {
  if (a.value === b.value || !shareSubjects(a.rule, b.rule)) return false;
  const rank = ({ value }: Term): string | undefined => / at rank (\d+)$/.exec(value)?.[1];
  return a.about !== 'listener' || rank(a) === rank(b);
}

/** Each conflict once, at the later of its two policies. */
export function findConflicts(policies: readonly ParsedPolicy[]): Finding[] {
  const findings = new Map<string, Finding>();
  for (const terms of collectTerms(policies).values()) {
    for (const [at, later] of terms.entries()) {
      const earlier = terms.slice(0, at).find((term) => exclude(term, later));
      if (!earlier) continue;
      const root = later.origin.path.startsWith('specs[') ? '' : 'spec.';
      const path = `${root}${later.origin.path}`;
      const other = `${formatOriginObject(earlier.origin)} ${earlier.origin.path}`;
      const message = `${later.about}: ${later.value} conflicts with ${earlier.value} in ${other} for the same peers and port`;
      findings.set(`${at} ${path} ${message}`, { path, message, policy: later.policy });
    }
  }
  return [...findings.values()];
}
