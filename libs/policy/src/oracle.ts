// SPDX-License-Identifier: Apache-2.0
// The executable specification of policy: slow, obvious, no map. It answers for one endpoint and one flow straight from
// the rules, and judges the compiled rule sets and the kernel.
import { IDENTITY_HOST, type Label } from '@cilium-ts/identity';
import type { PolicyFlow } from './lookup.ts';
import {
  RANK_ALLOW,
  RANK_DENY,
  RANK_HOST,
  RANK_UNKNOWN_PEER,
  type PeerSelector,
  type PortMatch,
  type Rule,
  type RuleItem,
} from './rule.ts';
import type { Verdict } from './rule-set.ts';
import { selects } from './selector.ts';
import { prefixContains, parsePrefix } from '@cilium-ts/net';

export interface OracleWorld {
  readonly mode: 'default' | 'always' | 'never';
  readonly allowLocalhost: boolean;
  readonly identities: ReadonlyMap<number, readonly Label[]>;
  /** Services and CIDR groups replaced by the peers they stand for. */
  expand(peer: PeerSelector): readonly PeerSelector[];
  namedPorts(direction: PolicyFlow['direction'], name: string, protocol: number): readonly number[];
}

export interface OracleVerdict {
  readonly verdict: Verdict;
  /** False: nothing said anything and the default decided. */
  readonly decided: boolean;
}

/** Decides a flow of the endpoint that has `subject` as its identity. */
export function oracle(
  world: OracleWorld,
  rules: readonly Rule[],
  subject: number,
  flow: PolicyFlow,
): OracleVerdict {
  const labels = world.identities.get(subject) ?? [];
  const relevant = rules
    .filter((rule) => rule.on === 'endpoints' && selects(rule.subject, labels))
    .flatMap((rule) => rule.items)
    .filter((item) => item.direction === flow.direction);
  const init = labels.some((label) => label.source === 'reserved' && label.key === 'init');
  if (world.mode === 'never') return { verdict: 'allow', decided: false };
  if (world.mode !== 'always' && !init && relevant.length === 0) return { verdict: 'allow', decided: false };
  const ranks = relevant.flatMap((item) => matchRanks(world, item, flow));
  const fromHost = flow.direction === 'ingress' && flow.identity === IDENTITY_HOST && world.allowLocalhost;
  if (fromHost) ranks.push(RANK_HOST);
  if (ranks.length > 0) {
    const best = Math.max(...ranks);
    if (best === RANK_DENY) return { verdict: 'deny', decided: true };
    const plain = best === RANK_ALLOW || best === RANK_HOST;
    return { verdict: plain ? 'allow' : 'unenforced', decided: true };
  }
  const denies = world.mode === 'always' || init || relevant.some((item) => item.defaultDeny);
  return { verdict: denies ? 'deny' : 'allow', decided: false };
}

function matchRanks(world: OracleWorld, item: RuleItem, flow: PolicyFlow): number[] {
  const ranks: number[] = [];
  const labels = world.identities.get(flow.identity) ?? [];
  const peers: (PeerSelector | 'any')[] = item.peers === 'any' ? ['any'] : [...item.peers];
  const ports: (PortMatch | 'any')[] = item.ports === 'any' ? ['any'] : [...item.ports];
  for (const peer of peers) {
    if (peer !== 'any' && !peerMatches(world, peer, labels)) continue;
    const unknown = peer !== 'any' && (peer.kind === 'unknown-world' || peer.kind === 'unknown-nodes');
    for (const port of ports) {
      if (port !== 'any' && !portMatches(world, item, port, flow)) continue;
      const condition = (port === 'any' ? undefined : port.unenforced) ?? item.unenforced;
      if (item.action === 'deny') ranks.push(RANK_DENY);
      else if (unknown) ranks.push(RANK_UNKNOWN_PEER);
      else ranks.push(condition ? condition.rank : RANK_ALLOW);
    }
  }
  return ranks;
}

function isReserved(labels: readonly Label[], ...names: string[]): boolean {
  return labels.some((label) => label.source === 'reserved' && names.includes(label.key));
}

function peerMatches(world: OracleWorld, peer: PeerSelector, labels: readonly Label[]): boolean {
  switch (peer.kind) {
    case 'labels':
      return selects(peer.selector, labels);
    case 'cidr':
      return inside(peer.prefix, labels) && !peer.except.some((inner) => inside(inner, labels));
    case 'unknown-world':
      return isReserved(labels, 'world', 'world-ipv4', 'world-ipv6');
    case 'unknown-nodes':
      return isReserved(labels, 'remote-node');
    case 'cidr-group':
    case 'service':
      return world.expand(peer).some((inner) => peerMatches(world, inner, labels));
  }
}

function inside(prefix: string, labels: readonly Label[]): boolean {
  const outer = parsePrefix(prefix)!;
  if (outer.bits === 0) return isReserved(labels, outer.family === 4 ? 'world-ipv4' : 'world-ipv6');
  return labels.some((label) => {
    const inner = label.source === 'cidr' ? parsePrefix(label.key.replaceAll('-', ':')) : undefined;
    return inner !== undefined && prefixContains(outer, inner);
  });
}

function portMatches(world: OracleWorld, item: RuleItem, port: PortMatch, flow: PolicyFlow): boolean {
  if (!port.protocols.includes(flow.protocol)) return false;
  if (port.name === undefined) return flow.port >= port.from && flow.port <= port.to;
  const numbers = world.namedPorts(item.direction, port.name, flow.protocol);
  return numbers.includes(flow.port) && (item.action === 'deny' || numbers.length === 1);
}
