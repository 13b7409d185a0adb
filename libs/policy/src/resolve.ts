// SPDX-License-Identifier: Apache-2.0
import { IDENTITY_HOST, IDENTITY_INIT, cidrLabels, type Label } from '@cilium-ts/identity';
import { parsePrefix } from '@cilium-ts/net';
import {
  compareOrigins,
  maskedPorts,
  PRECEDENCE_DEFAULT,
  pruneCandidates,
  toEntries,
  type Candidate,
} from './entries.ts';
import {
  RANK_ALLOW,
  RANK_DENY,
  RANK_HOST,
  RANK_UNKNOWN_PEER,
  type PeerSelector,
  type PortMatch,
  type RuleItem,
} from './rule.ts';
import type { Direction, Origin, RuleSet, RuleSetEntry, Verdict } from './rule-set.ts';
import { requireKey, type LabelSelector, type Requirement } from './selector.ts';
import { sha256Hex } from './sha256.ts';

export type EnforcementMode = 'default' | 'always' | 'never';

/** What a rule's peers stand for, in label selectors only; the engine expands services and CIDR groups. */
export interface ResolveWorld {
  readonly mode: EnforcementMode;
  /** The local host may always reach its own pods (explicit denies excepted). */
  readonly allowLocalhost: boolean;
  select(selector: LabelSelector): ReadonlySet<number>;
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
  readonly verdict: Verdict;
  readonly rank: number;
}

function grantOf(item: RuleItem, port: PortMatch | undefined, unknownPeer: boolean): Grant {
  if (item.deny) return { verdict: 'deny', rank: RANK_DENY };
  if (unknownPeer) return { verdict: 'unenforced', rank: RANK_UNKNOWN_PEER };
  const condition = port?.unenforced ?? item.unenforced;
  if (condition) return { verdict: 'unenforced', rank: condition.rank };
  return { verdict: 'allow', rank: RANK_ALLOW };
}

/** The keys a port match stands for, without the peer. */
function portKeys(
  item: RuleItem,
  match: PortMatch,
  world: ResolveWorld,
): { protocol: number; port: number; portPrefix: number }[] {
  return match.protocols.flatMap((protocol) => {
    if (match.name === undefined)
      return maskedPorts(match.from, match.to).map((block) => ({ protocol, ...block }));
    const numbers = world.namedPorts(item.direction, match.name, protocol);
    // One name, several numbers: an allow must not guess, a deny must not miss.
    if (numbers.length > 1 && !item.deny) return [];
    return numbers.map((port) => ({ protocol, port, portPrefix: 16 }));
  });
}

function itemCandidates(item: RuleItem, world: ResolveWorld): Candidate[] {
  const candidates: Candidate[] = [];
  const groups: { identities: Iterable<number>; unknown: boolean }[] = [];
  if (item.peers === 'any') groups.push({ identities: [0], unknown: false });
  else {
    for (const unknown of [false, true]) {
      const selectors = item.peers
        .filter((peer) => isUnknown(peer) === unknown)
        .flatMap((peer) => peerSelectors(peer, world.expand));
      const identities = new Set(selectors.flatMap((selector) => [...world.select(selector)]));
      groups.push({ identities, unknown });
    }
  }
  const ports = item.ports === 'any' ? [undefined] : item.ports;
  for (const { identities, unknown } of groups) {
    for (const match of ports) {
      const grant = grantOf(item, match, unknown);
      const keys = match ? portKeys(item, match, world) : [{ protocol: 0, port: 0, portPrefix: 0 }];
      const origin = match?.origin ?? item.origin;
      for (const identity of identities) {
        for (const key of keys)
          candidates.push({ direction: item.direction, identity, ...key, ...grant, origin });
      }
    }
  }
  return candidates;
}

interface DirectionResult {
  readonly enforced: boolean;
  /** Without a matching entry everything is dropped. */
  readonly defaultDeny: boolean;
  readonly candidates: Candidate[];
  readonly isolatedBy: Origin[];
}

function resolveDirection(
  identity: number,
  direction: Direction,
  items: readonly RuleItem[],
  world: ResolveWorld,
): DirectionResult {
  const own = items.filter((item) => item.direction === direction);
  const forced = world.mode === 'always' || identity === IDENTITY_INIT;
  if (world.mode === 'never' || (own.length === 0 && !forced)) {
    return { enforced: false, defaultDeny: false, candidates: [], isolatedBy: [] };
  }
  const isolating = own.filter((item) => item.defaultDeny);
  const candidates = own.flatMap((item) => itemCandidates(item, world));
  if (direction === 'ingress' && world.allowLocalhost) {
    candidates.push({
      direction,
      identity: IDENTITY_HOST,
      protocol: 0,
      port: 0,
      portPrefix: 0,
      verdict: 'allow',
      rank: RANK_HOST,
      origin: undefined,
    });
  }
  const isolatedBy = isolating.map((item) => item.origin).sort(compareOrigins);
  return { enforced: true, defaultDeny: forced || isolating.length > 0, candidates, isolatedBy };
}

function allowAll(direction: Direction): RuleSetEntry {
  return {
    direction,
    identity: 0,
    protocol: 0,
    port: 0,
    portPrefix: 0,
    verdict: 'allow',
    precedence: PRECEDENCE_DEFAULT,
    origin: 0,
  };
}

/** Compiles the rules that select one identity into its rule set. */
export function resolveRuleSet(identity: number, items: readonly RuleItem[], world: ResolveWorld): RuleSet {
  const ingress = resolveDirection(identity, 'ingress', items, world);
  const egress = resolveDirection(identity, 'egress', items, world);
  const rows = pruneCandidates([...ingress.candidates, ...egress.candidates]);
  const { entries, origins } = toEntries(rows);
  for (const [direction, result] of [
    ['ingress', ingress],
    ['egress', egress],
  ] as const) {
    const wildcard = entries.some(
      (entry) => entry.direction === direction && entry.identity === 0 && entry.protocol === 0,
    );
    // A wildcard row that is there already outranks the default and covers as much.
    if (!result.defaultDeny && !wildcard) entries.push(allowAll(direction));
  }
  const content = {
    enforced: { ingress: ingress.enforced, egress: egress.enforced },
    entries,
    origins,
    isolatedBy: { ingress: ingress.isolatedBy, egress: egress.isolatedBy },
  };
  return { id: contentHash(content), ...content };
}

/** 128 bits of SHA-256 over everything but the id. */
export function contentHash(content: Omit<RuleSet, 'id'>): string {
  const rows = content.entries.map((e) =>
    [
      e.direction,
      e.identity,
      e.protocol,
      e.port,
      e.portPrefix,
      e.verdict,
      e.precedence,
      e.origin,
      e.l7 ?? 0,
    ].join(),
  );
  const text = JSON.stringify([content.enforced, rows, content.origins, content.isolatedBy]);
  return sha256Hex(new TextEncoder().encode(text)).slice(0, 32);
}
