// SPDX-License-Identifier: Apache-2.0
// What is odd about policies that are valid: each alone, and taken together as a set.
import { formatOriginObject, type Origin } from './rule-set.ts';
import { peersCover, portsCover, selectorCovers } from './cover.ts';
import { levelOf } from './level.ts';
import type { Problem } from './problem.ts';
import type { ParsedPolicy, PortMatch, Rule, RuleItem } from './rule.ts';

/** A warning about one policy. */
export interface Finding extends Problem {
  readonly policy: ParsedPolicy;
}

interface Placed {
  readonly policy: ParsedPolicy;
  readonly rule: Rule;
  readonly item: RuleItem;
}

/** Warnings about policies that are to be in force together. */
export function reviewPolicies(policies: readonly ParsedPolicy[]): Finding[] {
  const placed = policies.flatMap((policy) =>
    policy.rules.flatMap((rule) => rule.items.map((item): Placed => ({ policy, rule, item }))),
  );
  return policies.flatMap((policy) => {
    const own = placed.filter((each) => each.policy === policy);
    const findings = [
      ...policy.unenforced,
      ...policy.rules.flatMap(broadSubject),
      ...policy.rules.flatMap((rule) => missingDns(rule, placed)),
      ...own.flatMap(emptyMatch),
      ...own.flatMap((each) => covered(each, placed)),
    ];
    return findings.map((finding) => ({ ...finding, policy }));
  });
}

/** Path from the top of the object. */
export function objectPath({ path }: Origin): string {
  return path.startsWith('specs[') ? path : `spec.${path}`;
}

function rootOf(rule: Rule): string {
  const [item] = rule.items;
  return item ? objectPath(item.origin).split('.')[0]! : 'spec';
}

function broadSubject(rule: Rule): Problem[] {
  if (rule.on !== 'endpoints' || rule.subject.length > 0) return [];
  const closed = (['ingress', 'egress'] as const).filter((direction) =>
    rule.items.some((item) => item.defaultDeny && item.direction === direction),
  );
  if (closed.length === 0) return [];
  const message = `selects every pod of every namespace and puts it into default deny for ${closed.join(' and ')}`;
  return [{ path: `${rootOf(rule)}.endpointSelector`, message }];
}

const UDP = 17;
const DNS_PORT = 53;

function allowsDns({ action, direction, peers, ports }: RuleItem): boolean {
  if (action !== 'allow' || direction !== 'egress') return false;
  if (peers !== 'any' && !peers.some(({ kind }) => kind !== 'unknown-world')) return false;
  const dns = ({ protocols, from, to, name }: PortMatch): boolean =>
    protocols.includes(UDP) &&
    (name === undefined ? from <= DNS_PORT && to >= DNS_PORT : name.includes('dns'));
  return ports === 'any' || ports.some(dns);
}

/** Names can only be reached by a subject that can ask for them. */
function missingDns(rule: Rule, all: readonly Placed[]): Problem[] {
  const named = rule.items.find(
    ({ action, peers }) => action === 'allow' && peers !== 'any' && peers.some(isOutsideName),
  );
  const closed = rule.items.some((item) => item.direction === 'egress' && item.defaultDeny);
  if (named?.direction !== 'egress' || !closed) return [];
  const answered = all.some(
    (other) =>
      other.rule.on === rule.on && selectorCovers(other.rule.subject, rule.subject) && allowsDns(other.item),
  );
  if (answered) return [];
  const message = 'names peers outside, but nothing here allows egress to UDP port 53 to look names up';
  return [{ path: objectPath(named.origin), message }];
}

function isOutsideName({ kind }: { readonly kind: string }): boolean {
  return kind === 'unknown-world';
}

function emptyMatch({ item }: Placed): Problem[] {
  const { peers, ports, origin, defaultDeny } = item;
  // A direction without rules in a Kubernetes policy is how default deny is written there.
  if (!/\]$/.test(origin.path)) return [];
  const effect = defaultDeny ? 'it only puts its subject into default deny' : 'it has no effect';
  const path = objectPath(origin);
  if (peers !== 'any' && peers.length === 0) return [{ path, message: `selects no peer: ${effect}` }];
  if (ports !== 'any' && ports.length === 0) return [{ path, message: `matches no port: ${effect}` }];
  return [];
}

function isEmpty({ peers, ports }: RuleItem): boolean {
  return (peers !== 'any' && peers.length === 0) || (ports !== 'any' && ports.length === 0);
}

/** At most one finding for each rule: the first other rule that leaves nothing to it. */
function covered(inner: Placed, all: readonly Placed[]): Problem[] {
  if (isEmpty(inner.item)) return [];
  const at = all.indexOf(inner);
  for (const [index, outer] of all.entries()) {
    if (outer === inner || !holdsAllOf(outer, inner)) continue;
    const message = effectOf(outer, inner, index < at, () => holdsAllOf(inner, outer));
    if (message === undefined) continue;
    const where = `${formatOriginObject(outer.item.origin)} ${objectPath(outer.item.origin)}`;
    return [{ path: objectPath(inner.item.origin), message: `${message} ${where}` }];
  }
  return [];
}

function holdsAllOf(outer: Placed, inner: Placed): boolean {
  const { item } = outer;
  return (
    item.direction === inner.item.direction &&
    outer.rule.on === inner.rule.on &&
    // What is only audited takes nothing from what is enforced.
    (!outer.policy.audited || inner.policy.audited) &&
    !isEmpty(item) &&
    !isConditional(item) &&
    selectorCovers(outer.rule.subject, inner.rule.subject) &&
    peersCover(item.peers, inner.item.peers) &&
    portsCover(item.ports, inner.item.ports)
  );
}

function isConditional({ unenforced, ports }: RuleItem): boolean {
  return unenforced !== undefined || (ports !== 'any' && ports.some((port) => port.unenforced !== undefined));
}

function effectOf(outer: Placed, inner: Placed, earlier: boolean, same: () => boolean): string | undefined {
  const [a, b] = [outer.item, inner.item];
  const [levelA, levelB] = [levelOf(a.tier, a.priority), levelOf(b.tier, b.priority)];
  const first = levelA < levelB && (a.action !== 'pass' || a.tier === b.tier);
  if (first) return 'is never reached: decided before by';
  if (levelA !== levelB) return undefined;
  if (a.action === 'deny' && b.action === 'allow') return 'allows nothing: all of it is denied by';
  if (a.action !== b.action || isConditional(b) || (b.defaultDeny && !a.defaultDeny)) return undefined;
  // Of two that say the same, the later one is told.
  if (!earlier && same()) return undefined;
  return a.action === 'deny' ? 'denies what is denied already by' : 'adds nothing to';
}
