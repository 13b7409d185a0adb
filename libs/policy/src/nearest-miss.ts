// SPDX-License-Identifier: Apache-2.0
// Which allowing rule came closest to a flow that nothing allowed, and what kept it from matching.
import type { Label } from '@cilium-ts/identity';
import { protocolName } from '@cilium-ts/net';
import { indexLabels, matcherOf, type IndexedLabels } from './matcher.ts';
import type { PolicyFlow } from './lookup.ts';
import type { Origin, RuleRow, RuleSet } from './rule-set.ts';
import type { LabelSelector, Requirement } from './selector.ts';

export interface NearestMiss {
  readonly origin: Origin;
  /** `port 8081, rule has 8080`, `peer labels differ: app=x, rule wants app=frontend`. */
  readonly text: string;
}

/** How far something is from matching, and in which words. */
interface Gap {
  readonly distance: number;
  readonly text: string;
}

const NAMESPACE_KEY = 'io.kubernetes.pod.namespace';
const PORT_FAR = 5000;
const PROTOCOL_DIFFERS = 20_000;
const LABEL_DIFFERS = 500;
const BOTH_DIFFER = 50_000;
const ICMP: readonly number[] = [1, 58];

/** Asked where no rule allowed the flow; undefined where no rule allows anything. */
export function nearestMiss(
  ruleSet: RuleSet,
  peer: readonly Label[],
  flow: PolicyFlow,
): NearestMiss | undefined {
  const labels = indexLabels(peer);
  let best: (Gap & { readonly origin: Origin }) | undefined;
  for (const row of ruleSet.rows) {
    const origin = ruleSet.origins[row.origin - 1];
    const allows = row.verdict === 'allow' || row.verdict === 'unenforced';
    if (!origin || !allows || row.direction !== flow.direction) continue;
    const gap = gapOf(row, row.selector === 0 ? [] : ruleSet.selectors[row.selector - 1]!, labels, flow);
    if (gap && (!best || gap.distance < best.distance)) best = { ...gap, origin };
  }
  return best && { origin: best.origin, text: best.text };
}

function gapOf(
  row: RuleRow,
  selector: LabelSelector,
  labels: IndexedLabels,
  flow: PolicyFlow,
): Gap | undefined {
  const port = portGap(row, flow);
  const peer = peerGap(selector, labels);
  if (!port || !peer) return port ?? peer;
  return { distance: BOTH_DIFFER + port.distance + peer.distance, text: `${port.text}; ${peer.text}` };
}

function portGap(row: RuleRow, flow: PolicyFlow): Gap | undefined {
  if (row.protocol === 0) return undefined;
  const away = Math.max(0, row.from - flow.port, flow.port - row.to);
  if (row.protocol !== flow.protocol) {
    const text = `protocol ${protocolName(flow.protocol)}, rule has ${protocolName(row.protocol)}${rangeText(row)}`;
    return { distance: PROTOCOL_DIFFERS + Math.min(away, PORT_FAR), text };
  }
  if (away === 0) return undefined;
  const word = ICMP.includes(row.protocol) ? 'type' : 'port';
  return {
    distance: Math.min(away, PORT_FAR),
    text: `${word} ${flow.port}, rule has${rangeText(row)}`,
  };
}

function rangeText({ from, to }: RuleRow): string {
  if (from === 0 && to === 65535) return '';
  return ` ${from === to ? from : `${from}-${to}`}`;
}

function peerGap(selector: LabelSelector, labels: IndexedLabels): Gap | undefined {
  const failed = selector.filter((requirement) => !matcherOf([requirement])(labels));
  if (failed.length === 0) return undefined;
  return {
    distance: failed.length * LABEL_DIFFERS,
    text: failed.map((one) => words(one, labels)).join(', '),
  };
}

function words(requirement: Requirement, labels: IndexedLabels): string {
  const { source, key, operator, values } = requirement;
  const isNegative = operator === 'DoesNotExist' || operator === 'NotIn';
  if (source === 'cidr') {
    const prefix = key.replaceAll('-', ':');
    return isNegative ? `peer is in ${prefix}, which the rule excepts` : `peer is not in ${prefix}`;
  }
  if (source === 'reserved') return `peer is ${isNegative ? '' : 'not '}${key === '' ? 'reserved' : key}`;
  const has = labels.values.get(`${source}:${key}`);
  const wanted = values.length > 1 ? `one of ${values.join(', ')}` : (values[0] ?? '');
  if (key === NAMESPACE_KEY && operator === 'In')
    return has
      ? `other namespace: ${has[0]}, rule has ${wanted}`
      : `peer is no pod, rule has namespace ${wanted}`;
  const shown = shortKey(key);
  const mine = has ? `${shown}=${has.join('|')}` : `no ${shown}`;
  const wants = {
    In: `${shown}=${wanted}`,
    NotIn: `${shown} other than ${values.join(', ')}`,
    Exists: shown,
    DoesNotExist: `no ${shown}`,
  }[operator];
  return `peer labels differ: ${mine}, rule wants ${wants}`;
}

function shortKey(key: string): string {
  return key.replace(/^io\.cilium\.k8s\.namespace\.labels\./, 'namespace label ');
}
