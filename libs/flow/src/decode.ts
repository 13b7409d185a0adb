// SPDX-License-Identifier: Apache-2.0
// A record of the event ring becomes a Flow. Names are looked up when the record is taken in, the message is built when
// somebody reads it.
import {
  CtState,
  EventFlags,
  EventType,
  PacketEventCodec,
  PacketEventOffsets,
  PolicyVerdict,
  readU16,
  TracePoint,
  type PacketEvent,
} from '@cilium-ts/abi';
import { sourceFileText } from '@cilium-ts/agent-api';
import {
  DropReason,
  Flow,
  FlowType,
  IPVersion,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
  type Endpoint,
  type Layer4,
  type Service,
  type Timestamp,
} from '@cilium-ts/proto';
import { parseLayer4, portsOf, summarize } from './layer4.ts';
import { parsePacket, type Packet } from './packet.ts';
import { isPolicyDrop } from './drop-text.ts';
import { addPolicyDecision } from './policy-decision.ts';
import { policiesOf } from './policy-names.ts';
import type { FlowDecision, FlowEndpoint, FlowLookups, FlowService } from './ports.ts';
import { workloadOf } from './workload.ts';

/** A taken-in record: its bytes, and what its addresses and rule set meant at that moment. */
export interface FlowRecord {
  readonly bytes: Uint8Array;
  /** Nanoseconds since the Unix epoch. */
  readonly time: bigint;
  readonly source: FlowEndpoint | undefined;
  readonly destination: FlowEndpoint | undefined;
  readonly sourceService: FlowService | undefined;
  readonly destinationService: FlowService | undefined;
  readonly decision: FlowDecision | undefined;
}

const HEAD = PacketEventCodec.size;
const NANOS = 1_000_000_000n;

function captured(bytes: Uint8Array, event: PacketEvent): Uint8Array {
  return bytes.subarray(HEAD, Math.min(bytes.length, HEAD + event.capturedLength));
}

const readPacket = (bytes: Uint8Array, event: PacketEvent): Packet =>
  parsePacket(captured(bytes, event), (event.flags & EventFlags.EVENT_L3_DEVICE) !== 0);

/** The side of the connection that was judged: a reply that leaves belongs to an ingress connection. */
function sideOf(event: PacketEvent): 'ingress' | 'egress' {
  const isLeaving = event.direction === 1;
  const isReply = event.ctState === CtState.CT_REPLY;
  return isLeaving !== isReply ? 'egress' : 'ingress';
}

const isDecided = (event: PacketEvent): boolean =>
  event.type === EventType.EVENT_POLICY_VERDICT ||
  (event.type === EventType.EVENT_DROP && isPolicyDrop(event.subtype));

/** What counters want to know of every event, without a message being built. */
export interface FlowFacts {
  readonly event: PacketEvent;
  readonly packet: Packet;
  readonly l4: Layer4 | undefined;
  readonly decision: FlowDecision | undefined;
  readonly side: 'ingress' | 'egress';
}

const SLAB_BYTES = 65_536;
let slab = new Uint8Array(0);
let slabUsed = 0;

/** A copy that outlives the ring's batch. Many share a buffer: one of its own costs each several times its size. */
function keepBytes(from: Uint8Array, start: number, end: number): Uint8Array {
  const length = Math.max(0, end - start);
  if (slabUsed + length > slab.length) {
    slab = new Uint8Array(Math.max(SLAB_BYTES, length));
    slabUsed = 0;
  }
  slab.set(from.subarray(start, end), slabUsed);
  const kept = slab.subarray(slabUsed, slabUsed + length);
  slabUsed += length;
  return kept;
}

/** Undefined where the bytes are no event of ours. `see` hears of what was read on the way. */
export function takeRecord(
  lookups: FlowLookups,
  ring: Uint8Array,
  offset: number,
  length: number,
  see?: (facts: FlowFacts) => void,
): FlowRecord | undefined {
  if (length < HEAD) return undefined;
  const end = Math.min(ring.length, offset + length);
  const bytes = keepBytes(
    ring,
    offset,
    Math.min(end, offset + HEAD + readU16(ring, offset + PacketEventOffsets.capturedLength)),
  );
  if (bytes.length < HEAD) return undefined;
  const event = PacketEventCodec.decode(bytes, 0);
  const packet = readPacket(bytes, event);
  const l4 = parseLayer4(captured(bytes, event), packet);
  const ports = portsOf(l4);
  const side = sideOf(event);
  const decision = isDecided(event) ? lookups.originOf(event.ruleSet, event.origin, side) : undefined;
  see?.({ event, packet, l4, decision, side });
  const source = event.originalIp === '' ? packet.source : event.originalIp;
  return {
    bytes,
    time: event.time + lookups.clockOffset(),
    source: lookups.endpointByAddress(source),
    destination: lookups.endpointByAddress(packet.destination),
    sourceService: lookups.serviceByAddress(packet.source, ports.source, packet.protocol),
    destinationService: lookups.serviceByAddress(packet.destination, ports.destination, packet.protocol),
    decision,
  };
}

export function timestamp(time: bigint): Timestamp {
  return { seconds: time / NANOS, nanos: Number(time % NANOS) };
}

/** The message of a record. */
export function buildFlow(lookups: FlowLookups, record: FlowRecord): Flow {
  const event = PacketEventCodec.decode(record.bytes, 0);
  const packet = readPacket(record.bytes, event);
  const flow = Flow.create({});
  flow.time = timestamp(record.time);
  flow.uuid = uuidOf(event, lookups.nodeName);
  flow.nodeName = lookups.nodeName;
  flow.emitter = { name: 'Hubble', version: lookups.version };
  flow.Type = FlowType.L3_L4;
  addPacket(flow, record, event, packet);
  flow.source = endpoint(lookups, event.sourceIdentity, record.source);
  flow.destination = endpoint(lookups, event.destinationIdentity, record.destination);
  flow.sourceService = service(record.sourceService);
  flow.destinationService = service(record.destinationService);
  flow.trafficDirection = sideOf(event) === 'egress' ? TrafficDirection.EGRESS : TrafficDirection.INGRESS;
  flow.interface =
    event.ifindex > 0 ? { index: event.ifindex, name: lookups.interfaceName(event.ifindex) } : undefined;
  if (event.type === EventType.EVENT_DROP) addDrop(flow, record, event);
  else if (event.type === EventType.EVENT_TRACE) addTrace(flow, event);
  else if (event.type === EventType.EVENT_POLICY_VERDICT) addVerdict(flow, record, event);
  addPolicyDecision(flow, record.decision, sideOf(event), packet.protocol);
  return flow;
}

function addPacket(flow: Flow, record: FlowRecord, event: PacketEvent, packet: Packet): void {
  const bytes = captured(record.bytes, event);
  if (packet.sourceMac !== '')
    flow.ethernet = { source: packet.sourceMac, destination: packet.destinationMac };
  const ipVersion =
    packet.version === 4 ? IPVersion.IPv4 : packet.version === 6 ? IPVersion.IPv6 : IPVersion.IP_NOT_USED;
  if (packet.version !== 0) {
    const isTranslated = event.originalIp !== '' && event.originalIp !== packet.source;
    flow.IP = {
      source: isTranslated ? event.originalIp : packet.source,
      destination: packet.destination,
      ipVersion,
      encrypted: false,
      sourceXlated: isTranslated ? packet.source : '',
    };
  }
  flow.l4 = parseLayer4(bytes, packet);
  flow.Summary = summarize(flow.l4, ipVersion);
}

function endpoint(lookups: FlowLookups, identity: number, known: FlowEndpoint | undefined): Endpoint {
  const number = identity || (known?.identity ?? 0);
  const labels = known && known.identity === number ? known.labels : lookups.identityLabels(number);
  const workload = known && workloadOf(known.podName);
  return {
    ID: known?.id ?? 0,
    identity: number,
    clusterName: lookups.clusterName,
    namespace: known?.namespace ?? '',
    labels: [...labels],
    podName: known?.podName ?? '',
    workloads: workload ? [workload] : [],
  };
}

const service = (known: FlowService | undefined): Service | undefined => known && { ...known };

function setReply(flow: Flow, isReply: boolean): void {
  flow.isReply = isReply;
  flow.reply = isReply;
}

function addDrop(flow: Flow, record: FlowRecord, event: PacketEvent): void {
  flow.eventType = { type: EventType.EVENT_DROP, subType: event.subtype };
  flow.verdict = Verdict.DROPPED;
  setReason(flow, event.subtype);
  flow.file = { name: sourceFileText(event.file), line: event.line };
  addDenied(flow, record, event);
}

function setReason(flow: Flow, reason: number): void {
  flow.dropReason = reason;
  flow.dropReasonDesc = reason as Flow['dropReasonDesc'];
}

function addDenied(flow: Flow, record: FlowRecord, event: PacketEvent): void {
  const policies = policiesOf(record.decision);
  if (sideOf(event) === 'egress') flow.egressDeniedBy = policies;
  else flow.ingressDeniedBy = policies;
}

function addTrace(flow: Flow, event: PacketEvent): void {
  flow.eventType = { type: EventType.EVENT_TRACE, subType: event.subtype };
  flow.verdict = Verdict.FORWARDED;
  flow.traceObservationPoint =
    event.subtype === TracePoint.TRACE_TO_ENDPOINT
      ? TraceObservationPoint.TO_ENDPOINT
      : (event.subtype as Flow['traceObservationPoint']);
  flow.traceReason = (event.ctState + TraceReason.NEW) as Flow['traceReason'];
  setReply(flow, event.ctState === CtState.CT_REPLY);
}

function addVerdict(flow: Flow, record: FlowRecord, event: PacketEvent): void {
  flow.policyMatchType = event.matchType;
  flow.eventType = { type: EventType.EVENT_POLICY_VERDICT, subType: 0 };
  if (event.subtype === PolicyVerdict.VERDICT_ALLOWED) {
    flow.verdict = Verdict.FORWARDED;
    setReply(flow, false);
    const policies = record.decision?.kind === 'origin' ? policiesOf(record.decision) : [];
    if (sideOf(event) === 'egress') flow.egressAllowedBy = policies;
    else flow.ingressAllowedBy = policies;
    return;
  }
  addDenied(flow, record, event);
  if (event.subtype === PolicyVerdict.VERDICT_AUDITED) {
    flow.verdict = Verdict.AUDIT;
    setReply(flow, false);
    return;
  }
  flow.verdict = Verdict.DROPPED;
  setReason(flow, deniedReason(record.decision));
}

/** The drop reason behind a denied verdict. */
export function deniedReason(decision: FlowDecision | undefined): number {
  if (decision?.kind !== 'origin') return DropReason.POLICY_DENIED;
  return decision.verdict === 'unenforced' ? DropReason.POLICY_UNENFORCED : DropReason.POLICY_DENY;
}

const hex = (value: bigint, digits: number): string =>
  (value & ((1n << BigInt(digits * 4)) - 1n)).toString(16).padStart(digits, '0');

/** The uuid that `buildFlow` gives the record's flow. */
export function flowUuid(lookups: FlowLookups, { bytes }: FlowRecord): string {
  return uuidOf(PacketEventCodec.decode(bytes, 0), lookups.nodeName);
}

/** The same for every reader of the record: from clock, CPU, sequence and node, in the form of a version 4 UUID. */
function uuidOf(event: PacketEvent, nodeName: string): string {
  const node = BigInt(nodeHash(nodeName));
  const low = (node << 32n) ^ (BigInt(event.cpu) << 48n) ^ BigInt(event.sequence);
  return `${hex(event.time >> 28n, 8)}-${hex(event.time >> 12n, 4)}-4${hex(event.time, 3)}-8${hex(node >> 4n, 3)}-${hex(low, 12)}`;
}

let hashed = { name: '', value: 0 };

function nodeHash(name: string): number {
  if (hashed.name !== name) {
    let value = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) value = Math.imul(value ^ name.charCodeAt(i), 0x01000193) >>> 0;
    hashed = { name, value };
  }
  return hashed.value;
}
