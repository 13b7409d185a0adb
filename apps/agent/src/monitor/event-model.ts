// SPDX-License-Identifier: Apache-2.0
import {
  CtStateNames,
  EventFlags,
  EventType,
  PacketEventCodec,
  PolicyMatchNames,
  PolicyVerdictNames,
  TracePointNames,
  type PacketEvent,
} from '@cilium-ts/abi';
import { dropReasonText, sourceFileText, type MonitorEventModel } from '@cilium-ts/agent-api';
import { formatOriginObject } from '@cilium-ts/policy';
import type { Decision } from '../policy/kept-policy.ts';
import { summarizePacket } from './packet.ts';

const words = (name: string | undefined, prefix: string): string =>
  (name ?? '').replace(prefix, '').toLowerCase().replaceAll('_', '-');

export type DecisionLookup = (event: PacketEvent) => Decision | undefined;

/** `CNP production/web egress[0].toPorts[0] (line 12)`, or the policies that isolate the endpoint. */
export function decisionText(decision: Decision): string {
  const origins = decision.kind === 'origin' ? [decision.origin] : decision.isolatedBy;
  const parts = origins.map((origin) => `${formatOriginObject(origin)} ${origin.path} (line ${origin.line})`);
  return decision.kind === 'origin' ? parts.join('') : `default deny by ${parts.join(', ') || 'no policy'}`;
}

/** One record of the ring as the monitor stream shows it. */
export function monitorEvent(
  bytes: Uint8Array,
  offset: number,
  length: number,
  decide: DecisionLookup,
): MonitorEventModel | undefined {
  if (length < PacketEventCodec.size) return undefined;
  const event = PacketEventCodec.decode(bytes, offset);
  const start = offset + PacketEventCodec.size;
  const captured = bytes.subarray(start, Math.min(offset + length, start + event.capturedLength));
  const packet = summarizePacket(captured, (event.flags & EventFlags.EVENT_L3_DEVICE) !== 0);
  const model: MonitorEventModel = {
    type: 'trace',
    cpu: `CPU ${String(event.cpu).padStart(2, '0')}:`,
    mark: `0x${event.hash.toString(16)}`,
    state: words(CtStateNames[event.ctState], 'CT_'),
    direction: event.direction === 1 ? 'egress' : 'ingress',
    source: event.endpoint,
    bytes: event.originalLength,
    srcLabel: event.sourceIdentity,
    dstLabel: event.destinationIdentity,
    dstID: event.peerEndpoint,
    Line: event.line,
    File: sourceFileText(event.file),
    ExtError: 0,
    Ifindex: event.ifindex,
    summary: {
      text: packet.text,
      l3: { src: packet.source, dst: packet.destination },
      l4: { src: String(packet.sourcePort), dst: String(packet.destinationPort), protocol: packet.protocol },
    },
  };
  return withKind(model, event, decide);
}

function withKind(model: MonitorEventModel, event: PacketEvent, decide: DecisionLookup): MonitorEventModel {
  const decision = event.ruleSet > 0 ? decide(event) : undefined;
  const policy = decision ? { policy: decisionText(decision) } : {};
  switch (event.type) {
    case EventType.EVENT_DROP:
      return { ...model, ...policy, type: 'drop', reason: dropReasonText(event.subtype) };
    case EventType.EVENT_POLICY_VERDICT: {
      const verdict = words(PolicyVerdictNames[event.subtype], 'VERDICT_');
      const matchType = words(PolicyMatchNames[event.matchType], 'MATCH_');
      return { ...model, ...policy, type: 'policy-verdict', verdict, matchType };
    }
    default:
      return { ...model, observationPoint: words(TracePointNames[event.subtype], 'TRACE_') };
  }
}
