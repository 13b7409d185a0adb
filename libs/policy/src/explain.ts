// SPDX-License-Identifier: Apache-2.0
import { protocolName } from '@cilium-ts/net';
import type { PolicyEngine } from './engine.ts';
import type { PolicyFlow } from './lookup.ts';
import { MapState, type Select } from './map-state.ts';
import { peerSelectors, type ResolveWorld } from './resolve.ts';
import type { PortMatch, RuleItem } from './rule.ts';
import { formatOriginObject, ruleSetIdOf, type Origin, type RuleSet, type Verdict } from './rule-set.ts';

export interface Explanation {
  readonly verdict: Verdict | 'default-deny' | 'default-allow';
  /** The rule that decided. */
  readonly origin?: Origin;
  /** For a default deny: the rules that isolate the endpoint. */
  readonly isolatedBy: readonly Origin[];
  /** For a default deny: the rule that came closest, in words. */
  readonly nearestMiss?: string;
}

/** Decides a flow from a rule set and what its selectors select. */
export function explainRuleSet(ruleSet: RuleSet, select: Select, flow: PolicyFlow): Explanation {
  const entry = new MapState(ruleSet, select).lookup(flow);
  if (!entry || (entry.verdict === 'deny' && entry.origin === 0))
    return { verdict: 'default-deny', isolatedBy: ruleSet.isolatedBy[flow.direction] };
  const origin = entry.origin > 0 ? ruleSet.origins[entry.origin - 1] : undefined;
  if (!origin)
    return { verdict: entry.verdict === 'allow' ? 'default-allow' : entry.verdict, isolatedBy: [] };
  return { verdict: entry.verdict, origin, isolatedBy: [] };
}

/** Decides a flow of an identity's endpoints and, for a default deny, names the nearest miss. */
export function explain(
  engine: PolicyEngine,
  identity: number,
  flow: PolicyFlow,
  pod?: string,
): Explanation | undefined {
  const subject = engine.subject(identity);
  const ruleSet = subject && engine.ruleSet(ruleSetIdOf(subject, pod));
  if (!ruleSet) return undefined;
  const select: Select = (selector) => engine.select(selector);
  const answer = explainRuleSet(ruleSet, select, flow);
  if (answer.verdict !== 'default-deny') return answer;
  const items = engine.rulesOf(identity, pod).flatMap(({ rule }) => rule.items);
  const miss = nearestMiss(
    items.filter((item) => item.direction === flow.direction && item.action === 'allow'),
    flow,
    { ...engine.world(identity, pod), select },
  );
  return miss === undefined ? answer : { ...answer, nearestMiss: miss };
}

type SelectingWorld = ResolveWorld & { readonly select: Select };

function nearestMiss(
  items: readonly RuleItem[],
  flow: PolicyFlow,
  world: SelectingWorld,
): string | undefined {
  let best: { distance: number; text: string } | undefined;
  const offer = (distance: number, text: string): void => {
    if (!best || distance < best.distance) best = { distance, text };
  };
  for (const item of items) {
    const peer = peerMatches(item, flow.identity, world);
    if (item.ports === 'any') {
      if (!peer && item.peers !== 'any' && item.peers.length > 0)
        offer(1e6, `${place(item.origin)} allows other peers`);
      continue;
    }
    for (const port of item.ports) {
      const fits =
        port.name === undefined &&
        port.protocols.includes(flow.protocol) &&
        flow.port >= port.from &&
        flow.port <= port.to;
      if (fits && !peer)
        offer(2e5, `${place(port.origin)} allows ${describe(port)}, but from or to other peers`);
      if (!fits && peer)
        offer(
          portDistance(port, flow),
          `${protocolName(flow.protocol)} port ${flow.port}, ${place(port.origin)} has ${describe(port)}`,
        );
    }
  }
  return best?.text;
}

function peerMatches(item: RuleItem, identity: number, world: SelectingWorld): boolean {
  if (item.peers === 'any') return true;
  return item.peers
    .flatMap((peer) => peerSelectors(peer, world.expand))
    .some((selector) => world.select(selector).has(identity));
}

function portDistance(port: PortMatch, flow: PolicyFlow): number {
  const protocol = port.protocols.includes(flow.protocol) ? 0 : 7e4;
  if (port.name !== undefined) return protocol + 66000;
  return protocol + Math.max(0, port.from - flow.port, flow.port - port.to);
}

function place(origin: Origin): string {
  return `${formatOriginObject(origin)} ${origin.path}`;
}

function describe(port: PortMatch): string {
  const protocols = port.protocols.map(protocolName).join('/');
  if (port.name !== undefined) return `${protocols} ${port.name}`;
  if (port.from === 0 && port.to === 65535) return protocols;
  return `${protocols} ${port.from === port.to ? port.from : `${port.from}-${port.to}`}`;
}
