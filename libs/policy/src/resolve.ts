// SPDX-License-Identifier: Apache-2.0
import { IDENTITY_HOST, IDENTITY_INIT, cidrLabels, type Label } from '@cilium-ts/identity';
import { parsePrefix } from '@cilium-ts/net';
import { levelOf, tierOf } from './level.ts';
import { compareOrigins, originKey } from './origin.ts';
import {
  RANK_ALLOW,
  RANK_DENY,
  RANK_HOST,
  RANK_PASS,
  RANK_UNKNOWN_PEER,
  type PeerSelector,
  type PortMatch,
  type RuleItem,
} from './rule.ts';
import type { Direction, Origin, RowVerdict, RuleRow, RuleSet } from './rule-set.ts';
import { requireKey, selectorKey, type LabelSelector, type Requirement } from './selector.ts';
import { sha256Hex } from './sha256.ts';

export type EnforcementMode = 'default' | 'always' | 'never';

/** What a rule's peers stand for, in label selectors only; the engine expands services and CIDR groups. */
export interface ResolveWorld {
  readonly mode: EnforcementMode;
  /** The local host may always reach its own pods (explicit denies excepted). */
  readonly allowLocalhost: boolean;
  expand(peer: PeerSelector): readonly PeerSelector[];
  /** Port numbers of a name: of the subject's own pods for ingress, of all pods for egress. */
  namedPorts(direction: Direction, name: string, protocol: number): readonly number[];
}

/** The requirement that a peer lies in a prefix: the world of a family stands for all of its addresses. */
function insidePrefix(prefix: string): Requirement {
  const parsed = parsePrefix(prefix)!;
  const [cidr, world] = cidrLabels(prefix) as [Label, Label];
  return parsed.bits === 0 ? requireKey('reserved', world.key) : requireKey('cidr', cidr.key);
}

export function cidrSelector(prefix: string, except: readonly string[]): LabelSelector {
  return [
    insidePrefix(prefix),
    ...except.map((inner): Requirement => ({ ...insidePrefix(inner), operator: 'DoesNotExist' })),
  ];
}

const WORLD: readonly LabelSelector[] = ['world', 'world-ipv4', 'world-ipv6'].map((key) => [
  requireKey('reserved', key),
]);
const REMOTE_NODES: LabelSelector = [requireKey('reserved', 'remote-node')];

/** Selectors whose union is the peer. */
export function peerSelectors(peer: PeerSelector, expand: ResolveWorld['expand']): readonly LabelSelector[] {
  switch (peer.kind) {
    case 'labels':
      return [peer.selector];
    case 'cidr':
      return [cidrSelector(peer.prefix, peer.except)];
    case 'unknown-world':
      return WORLD;
    case 'unknown-nodes':
      return [REMOTE_NODES];
    case 'cidr-group':
    case 'service':
      return expand(peer).flatMap((inner) => peerSelectors(inner, expand));
  }
}

function isUnknown(peer: PeerSelector): boolean {
  return peer.kind === 'unknown-world' || peer.kind === 'unknown-nodes';
}

interface Grant {
  readonly verdict: RowVerdict;
  readonly rank: number;
}

function grantOf(item: RuleItem, port: PortMatch | undefined, unknownPeer: boolean): Grant {
  if (item.action === 'deny') return { verdict: 'deny', rank: RANK_DENY };
  if (item.action === 'pass') return { verdict: 'pass', rank: RANK_PASS };
  if (unknownPeer) return { verdict: 'unenforced', rank: RANK_UNKNOWN_PEER };
  const condition = port?.unenforced ?? item.unenforced;
  if (condition) return { verdict: 'unenforced', rank: condition.rank };
  return { verdict: 'allow', rank: RANK_ALLOW };
}

interface PortSpan {
  readonly protocol: number;
  readonly from: number;
  readonly to: number;
}

const EVERYTHING: PortSpan = { protocol: 0, from: 0, to: 65535 };

function portSpans(item: RuleItem, match: PortMatch, world: ResolveWorld): PortSpan[] {
  return match.protocols.flatMap((protocol): PortSpan[] => {
    if (protocol === 0) return [EVERYTHING];
    if (match.name === undefined) return [{ protocol, from: match.from, to: match.to }];
    const numbers = world.namedPorts(item.direction, match.name, protocol);
    // One name, several numbers: an allow must not guess, a deny must not miss.
    if (numbers.length > 1 && item.action === 'allow') return [];
    return numbers.map((port) => ({ protocol, from: port, to: port }));
  });
}

/** An item and the policy it stands in. */
export interface OwnedItem {
  readonly item: RuleItem;
  readonly audited: boolean;
}

/** A row before its selector and origin are numbered. */
interface OpenRow extends Grant, PortSpan {
  readonly direction: Direction;
  readonly level: number;
  /** Undefined: every peer. */
  readonly selector: LabelSelector | undefined;
  readonly origin: Origin | undefined;
  readonly audited: boolean;
}

function itemRows({ item, audited }: OwnedItem, world: ResolveWorld): OpenRow[] {
  const { direction } = item;
  const level = levelOf(item.tier, item.priority);
  const peers: { selector: LabelSelector | undefined; unknown: boolean }[] =
    item.peers === 'any'
      ? [{ selector: undefined, unknown: false }]
      : item.peers.flatMap((peer) =>
          peerSelectors(peer, world.expand).map((selector) => ({ selector, unknown: isUnknown(peer) })),
        );
  const ports = item.ports === 'any' ? [undefined] : item.ports;
  return ports.flatMap((match) => {
    const spans = match ? portSpans(item, match, world) : [EVERYTHING];
    const origin = match?.origin ?? item.origin;
    return peers.flatMap(({ selector, unknown }) => {
      const grant = grantOf(item, match, unknown);
      return spans.map((span) => ({ direction, level, selector, origin, audited, ...grant, ...span }));
    });
  });
}

interface DirectionResult {
  readonly enforced: boolean;
  readonly defaultDeny: boolean;
  readonly rows: readonly OpenRow[];
  readonly isolatedBy: readonly Origin[];
  readonly auditedBy: readonly Origin[];
}

const UNENFORCED: DirectionResult = {
  enforced: false,
  defaultDeny: false,
  rows: [],
  isolatedBy: [],
  auditedBy: [],
};

function isolating(items: readonly OwnedItem[], audited: boolean): Origin[] {
  return items
    .filter((owned) => owned.audited === audited && owned.item.defaultDeny)
    .map(({ item }) => item.origin)
    .sort(compareOrigins);
}

function resolveDirection(
  identity: number,
  direction: Direction,
  items: readonly OwnedItem[],
  world: ResolveWorld,
): DirectionResult {
  const own = items.filter(({ item }) => item.direction === direction);
  const forced = world.mode === 'always' || identity === IDENTITY_INIT;
  if (world.mode === 'never' || (own.length === 0 && !forced)) return UNENFORCED;
  const isolatedBy = isolating(own, false);
  let rows = own.flatMap((owned) => itemRows(owned, world));
  // The normal tier's default deny is final, so nothing of the baseline tier is ever asked.
  if (isolatedBy.length > 0) rows = rows.filter(({ level }) => tierOf(level) !== 'baseline');
  if (direction === 'ingress' && world.allowLocalhost && identity !== IDENTITY_HOST) rows.push(HOST_ROW);
  const enforced = forced || own.some(({ audited }) => !audited);
  const defaultDeny = forced || isolatedBy.length > 0;
  return { enforced, defaultDeny, rows, isolatedBy, auditedBy: isolating(own, true) };
}

const HOST_ROW: OpenRow = {
  direction: 'ingress',
  level: levelOf('normal', 0),
  verdict: 'allow',
  rank: RANK_HOST,
  selector: [requireKey('reserved', 'host')],
  ...EVERYTHING,
  origin: undefined,
  audited: false,
};

/** Numbers things by what they are; the numbers follow the order given at the end, not the order of arrival. */
function compareRows(a: OpenRow, b: OpenRow): number {
  return (
    Number(a.direction === 'egress') - Number(b.direction === 'egress') ||
    a.level - b.level ||
    b.rank - a.rank ||
    compareOrigins(a.origin, b.origin) ||
    a.protocol - b.protocol ||
    a.from - b.from ||
    a.to - b.to ||
    Number(a.audited) - Number(b.audited)
  );
}

/** Compiles the rules that select one identity into its rule set; the same rules in any order give the same one. */
export function resolveRuleSet(identity: number, items: readonly OwnedItem[], world: ResolveWorld): RuleSet {
  const ingress = resolveDirection(identity, 'ingress', items, world);
  const egress = resolveDirection(identity, 'egress', items, world);
  const byText = (a: OpenRow, b: OpenRow): number =>
    compareRows(a, b) || compareText(selectorText(a), selectorText(b));
  const open = [...ingress.rows, ...egress.rows].sort(byText);
  const both = <T>(pick: (result: DirectionResult) => T) => ({
    ingress: pick(ingress),
    egress: pick(egress),
  });
  const auditedBy = both((result) => result.auditedBy);
  const content = {
    enforced: both((result) => result.enforced),
    defaultDeny: both((result) => result.defaultDeny),
    ...number(open, [...auditedBy.ingress, ...auditedBy.egress]),
    isolatedBy: both((result) => result.isolatedBy),
    auditedBy,
  };
  return { id: contentHash(content), ...content };
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function selectorText({ selector }: OpenRow): string {
  return selector ? selectorKey(selector) : '';
}

function number(
  open: readonly OpenRow[],
  moreOrigins: readonly Origin[],
): Pick<RuleSet, 'rows' | 'selectors' | 'origins'> {
  const selectors: LabelSelector[] = [];
  const selectorNumbers = new Map<string, number>([['', 0]]);
  const origins: Origin[] = [];
  const originNumbers = new Map<string, number>();
  const originNumber = (origin: Origin | undefined): number => {
    if (!origin) return 0;
    const key = originKey(origin);
    const known = originNumbers.get(key);
    if (known !== undefined) return known;
    originNumbers.set(key, origins.push(origin));
    return origins.length;
  };
  const rows = open.map((row): RuleRow => {
    const key = selectorText(row);
    let selector = selectorNumbers.get(key);
    if (selector === undefined) selectorNumbers.set(key, (selector = selectors.push(row.selector!)));
    const { direction, verdict, level, rank, protocol, from, to, audited } = row;
    const origin = originNumber(row.origin);
    return { direction, verdict, level, rank, selector, protocol, from, to, origin, audited };
  });
  for (const origin of moreOrigins) originNumber(origin);
  return { rows: dropRepeats(rows), selectors, origins };
}

/** Rows are sorted, so equal ones of one origin are neighbours. */
function dropRepeats(rows: readonly RuleRow[]): RuleRow[] {
  return rows.filter((row, at) => at === 0 || !sameRow(row, rows[at - 1]!));
}

function sameRow(a: RuleRow, b: RuleRow): boolean {
  return a.origin === b.origin && a.selector === b.selector && rowText(a) === rowText(b);
}

/** 128 bits of SHA-256 over everything but the id. */
export function contentHash(content: Omit<RuleSet, 'id'>): string {
  const { enforced, defaultDeny, selectors, rows, origins, isolatedBy, auditedBy } = content;
  const places = (list: readonly Origin[]): string =>
    list.map((origin) => `${originKey(origin)}\0${origin.line}`).join('\n');
  const text = [
    JSON.stringify([enforced, defaultDeny]),
    ...rows.map(rowText),
    '',
    // As written, not as compared: what a reader makes of the text must be what was hashed.
    JSON.stringify(selectors),
    ...[origins, isolatedBy.ingress, isolatedBy.egress, auditedBy.ingress, auditedBy.egress].map(places),
  ].join('\n\n');
  return sha256Hex(new TextEncoder().encode(text)).slice(0, 32);
}

/** The columns of a row in a fixed order, so that its hash does not depend on how the object was made. */
function rowText(row: RuleRow): string {
  const { direction, verdict, level, rank, selector, protocol, from, to, origin, audited } = row;
  return `${direction} ${verdict} ${level} ${rank} ${selector} ${protocol} ${from} ${to} ${origin} ${audited}`;
}
