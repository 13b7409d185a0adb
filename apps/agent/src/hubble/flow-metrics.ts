// SPDX-License-Identifier: Apache-2.0
// hubble_* counters, fed by every event. Increments are folded per slice: one call per series, not per flow.
import { EventType, PolicyVerdict, TracePoint } from '@cilium-ts/abi';
import { AppError } from '@cilium-ts/base';
import { deniedReason, flagNames, portsOf, summarize, type FlowFacts } from '@cilium-ts/flow';
import { dropReasonToJSON, TraceObservationPoint, traceObservationPointToJSON } from '@cilium-ts/proto';
import type { Counter, Labels, Metrics } from '@cilium-ts/telemetry';

export const FLOW_METRICS = ['flow', 'drop', 'tcp', 'icmp', 'port-distribution', 'policy'] as const;
export type FlowMetric = (typeof FLOW_METRICS)[number];

/** `drop tcp flow`; empty means all. Context options are refused, not ignored. @throws AppError `bad-config` */
export function parseFlowMetrics(text: string): ReadonlySet<FlowMetric> {
  const names = text.split(/[\s,]+/).filter((name) => name !== '');
  for (const name of names) {
    if (!(FLOW_METRICS as readonly string[]).includes(name)) {
      throw new AppError(
        'bad-config',
        `hubble-metrics has ${JSON.stringify(name)}; allowed: ${FLOW_METRICS.join(', ')}`,
      );
    }
  }
  return new Set(names.length === 0 ? FLOW_METRICS : (names as FlowMetric[]));
}

const MATCHES = ['none', 'l3-only', 'l3-l4', 'l4-only', 'all', 'l3-proto', 'proto-only'];
const DROPPED = 'DROPPED';
const FORWARDED = 'FORWARDED';
const AUDIT = 'AUDIT';

function verdictOf({ event }: FlowFacts): string {
  if (event.type === EventType.EVENT_DROP) return DROPPED;
  if (event.type === EventType.EVENT_TRACE) return FORWARDED;
  if (event.subtype === PolicyVerdict.VERDICT_ALLOWED) return FORWARDED;
  return event.subtype === PolicyVerdict.VERDICT_AUDITED ? AUDIT : DROPPED;
}

function pointOf(subtype: number): string {
  const point = subtype === TracePoint.TRACE_TO_ENDPOINT ? TraceObservationPoint.TO_ENDPOINT : subtype;
  return traceObservationPointToJSON(point as TraceObservationPoint)
    .toLowerCase()
    .replace('_', '-');
}

const TYPES: Readonly<Record<number, string>> = {
  [EventType.EVENT_DROP]: 'Drop',
  [EventType.EVENT_TRACE]: 'Trace',
  [EventType.EVENT_POLICY_VERDICT]: 'PolicyVerdict',
};

export class FlowMetrics {
  readonly #enabled: ReadonlySet<FlowMetric>;
  readonly #counters: Readonly<Record<FlowMetric, Counter>>;
  readonly #lost: Counter;
  readonly #pending = new Map<
    string,
    { readonly counter: Counter; readonly labels: Labels; count: number }
  >();

  constructor(metrics: Metrics, enabled: ReadonlySet<FlowMetric>) {
    this.#enabled = enabled;
    this.#counters = {
      flow: metrics.counter('hubble_flows_processed_total', 'Flows seen'),
      drop: metrics.counter('hubble_drop_total', 'Packets dropped'),
      tcp: metrics.counter('hubble_tcp_flags_total', 'TCP flags of forwarded packets'),
      icmp: metrics.counter('hubble_icmp_total', 'ICMP messages'),
      'port-distribution': metrics.counter(
        'hubble_port_distribution_total',
        'Destination ports of forwarded flows',
      ),
      policy: metrics.counter('hubble_policy_verdicts_total', 'Policy verdicts'),
    };
    this.#lost = metrics.counter('hubble_lost_events_total', 'Events that did not become flows');
  }

  lost(source: 'datapath' | 'queue', count: number): void {
    this.#lost.add(count, {
      source: source === 'datapath' ? 'perf_event_ring_buffer' : 'observer_events_queue',
    });
  }

  see(facts: FlowFacts): void {
    const verdict = verdictOf(facts);
    const protocol = facts.l4?.protocol?.$case ?? 'Unknown protocol';
    const { event } = facts;
    if (this.#enabled.has('flow')) {
      const subtype = event.type === EventType.EVENT_TRACE ? pointOf(event.subtype) : '';
      this.#add('flow', { protocol, type: TYPES[event.type] ?? 'Unknown', subtype, verdict });
    }
    if (verdict === DROPPED && this.#enabled.has('drop')) {
      const reason = event.type === EventType.EVENT_DROP ? event.subtype : deniedReason(facts.decision);
      this.#add('drop', { reason: dropReasonToJSON(reason as 0), protocol });
    }
    if (verdict === FORWARDED) this.#seeForwarded(facts, protocol);
    this.#seeRest(facts, verdict);
  }

  #seeForwarded({ event, l4, packet }: FlowFacts, protocol: string): void {
    const message = l4?.protocol;
    if (message?.$case === 'TCP' && this.#enabled.has('tcp')) {
      const flags = new Set(flagNames(message.value.flags));
      const family = `IPv${packet.version}`;
      if (flags.has('SYN')) this.#add('tcp', { flag: flags.has('ACK') ? 'SYN-ACK' : 'SYN', family });
      if (flags.has('FIN')) this.#add('tcp', { flag: 'FIN', family });
      if (flags.has('RST')) this.#add('tcp', { flag: 'RST', family });
    }
    const isReply = event.type === EventType.EVENT_TRACE && event.ctState === 2;
    if (message && !isReply && this.#enabled.has('port-distribution')) {
      this.#add('port-distribution', { protocol, port: String(portsOf(l4).destination) });
    }
  }

  #seeRest({ event, l4, packet, side }: FlowFacts, verdict: string): void {
    const message = l4?.protocol;
    if ((message?.$case === 'ICMPv4' || message?.$case === 'ICMPv6') && this.#enabled.has('icmp')) {
      const type = summarize(l4, 0).slice('ICMPv4 '.length);
      this.#add('icmp', { family: `IPv${packet.version}`, type });
    }
    const isFromHost = event.sourceIdentity === 1;
    if (event.type === EventType.EVENT_POLICY_VERDICT && !isFromHost && this.#enabled.has('policy')) {
      const match = MATCHES[event.matchType] ?? 'unknown';
      this.#add('policy', { direction: side, match, action: verdict.toLowerCase() });
    }
  }

  #add(metric: FlowMetric, labels: Labels): void {
    let key: string = metric;
    for (const name in labels) key += `|${labels[name]}`;
    const pending = this.#pending.get(key);
    if (pending) pending.count++;
    else this.#pending.set(key, { counter: this.#counters[metric], labels, count: 1 });
  }

  /** After a slice of events. */
  flush(): void {
    for (const { counter, labels, count } of this.#pending.values()) counter.add(count, labels);
    this.#pending.clear();
  }
}
