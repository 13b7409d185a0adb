// SPDX-License-Identifier: Apache-2.0
// Whether one selector, list of peers or list of ports holds all of another: said only where the texts prove it.
import { parsePrefix, prefixContains } from '@cilium-ts/net';
import type { Peers, PeerSelector, PortMatch } from './rule.ts';
import { selectorKey, type LabelSelector } from './selector.ts';

const keys = new WeakMap<LabelSelector, ReadonlySet<string>>();

function requirementKeys(selector: LabelSelector): ReadonlySet<string> {
  let known = keys.get(selector);
  if (!known) {
    known = new Set(selector.map((requirement) => selectorKey([requirement])));
    keys.set(selector, known);
  }
  return known;
}

/** Fewer requirements select more. */
export function selectorCovers(outer: LabelSelector, inner: LabelSelector): boolean {
  const has = requirementKeys(inner);
  return [...requirementKeys(outer)].every((key) => has.has(key));
}

export function peersCover(outer: Peers, inner: Peers): boolean {
  if (outer === 'any') return true;
  return inner !== 'any' && inner.every((peer) => outer.some((candidate) => peerCovers(candidate, peer)));
}

function peerCovers(outer: PeerSelector, inner: PeerSelector): boolean {
  if (outer.kind === 'labels' && inner.kind === 'labels')
    return selectorCovers(outer.selector, inner.selector);
  if (outer.kind === 'cidr' && inner.kind === 'cidr')
    return (
      contains(outer.prefix, inner.prefix) &&
      outer.except.every(
        (hole) =>
          inner.except.some((other) => contains(other, hole)) ||
          (!contains(inner.prefix, hole) && !contains(hole, inner.prefix)),
      )
    );
  // Names from outside are not told apart here, so one of them says nothing about another.
  if (outer.kind === 'unknown-world' || outer.kind === 'unknown-nodes') return false;
  return JSON.stringify(outer) === JSON.stringify(inner);
}

function contains(outer: string, inner: string): boolean {
  const [a, b] = [parsePrefix(outer), parsePrefix(inner)];
  return a !== undefined && b !== undefined && prefixContains(a, b);
}

export function portsCover(
  outer: 'any' | readonly PortMatch[],
  inner: 'any' | readonly PortMatch[],
): boolean {
  if (outer === 'any') return true;
  return inner !== 'any' && inner.every((match) => outer.some((candidate) => portCovers(candidate, match)));
}

function portCovers(outer: PortMatch, inner: PortMatch): boolean {
  return (
    outer.name === inner.name &&
    outer.from <= inner.from &&
    outer.to >= inner.to &&
    inner.protocols.every((protocol) => outer.protocols.includes(protocol))
  );
}
