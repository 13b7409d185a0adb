// SPDX-License-Identifier: Apache-2.0
// Hand-made event records and a small cluster, for tests.
import { CtState, EventType, PacketEventCodec, TrafficDirection, type PacketEvent } from '@cilium-ts/abi';
import type { Flow } from '@cilium-ts/proto';
import { buildFlow, takeRecord } from './decode.ts';
import type { FlowEndpoint, FlowLookups } from './ports.ts';

export const FRONTEND: FlowEndpoint = {
  id: 7,
  identity: 18_211,
  namespace: 'production',
  podName: 'frontend-6f9c7d8b5-x2x4z',
  labels: ['k8s:app=frontend', 'k8s:io.kubernetes.pod.namespace=production'],
};

export const BACKEND: FlowEndpoint = {
  id: 0,
  identity: 20_455,
  namespace: 'production',
  podName: 'backend-0',
  labels: ['k8s:app=backend', 'k8s:io.kubernetes.pod.namespace=production'],
};

const ALLOW = {
  kind: 'CiliumNetworkPolicy',
  namespace: 'production',
  name: 'allow-frontend-to-backend',
} as const;
const RULE = { ...ALLOW, path: 'egress[0].toPorts[0]', line: 7 };
const DIRECTION = { ...ALLOW, path: 'egress', line: 2 };

const ADDRESSES: Readonly<Record<string, FlowEndpoint>> = {
  '10.244.1.5': FRONTEND,
  '10.244.2.9': BACKEND,
  'fd00:10:244:1::5': FRONTEND,
};

/** 2026-03-04T09:15:02Z. */
export const BOOT_SECONDS = 1_772_615_702n;

export const CLUSTER: FlowLookups = {
  nodeName: 'node1',
  clusterName: 'default',
  version: '1.20.0',
  endpointByAddress: (address) => ADDRESSES[address],
  identityLabels: (identity) => (identity === 2 ? ['reserved:world'] : []),
  serviceByAddress: (address, port) =>
    address === '10.96.0.7' && port === 8080 ? { namespace: 'production', name: 'backend' } : undefined,
  originOf: (ruleSet, origin, direction) => {
    if (ruleSet !== 3) return undefined;
    if (origin === 1) return { kind: 'origin', origin: RULE };
    if (origin === 2) return { kind: 'origin', origin: RULE, verdict: 'unenforced' };
    return { kind: 'default-deny', isolatedBy: direction === 'egress' ? [DIRECTION] : [] };
  },
  interfaceName: (ifindex) => (ifindex === 12 ? 'lxc12' : ''),
  clockOffset: () => BOOT_SECONDS * 1_000_000_000n,
};

export const SYN = 0x02;
export const SYN_ACK = 0x12;

interface Ends {
  readonly from?: readonly [number, number, number, number];
  readonly to?: readonly [number, number, number, number];
}

const FROM = [10, 244, 1, 5] as const;
const TO = [10, 244, 2, 9] as const;
const ETHERNET = [0x02, 0, 0, 0, 0, 0x0b, 0x02, 0, 0, 0, 0, 0x0a];

/** Ethernet, IPv4 and the given upper layer. */
export function ipv4(
  protocol: number,
  upper: readonly number[],
  { from = FROM, to = TO }: Ends = {},
): Uint8Array {
  const head = [0x45, 0, 0, 20 + upper.length, 0, 0, 0, 0, 64, protocol, 0, 0, ...from, ...to];
  return Uint8Array.from([...ETHERNET, 0x08, 0x00, ...head, ...upper]);
}

const be16 = (value: number): number[] => [value >> 8, value & 255];

export function tcpHeader(source: number, destination: number, flags: number): number[] {
  return [...be16(source), ...be16(destination), 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0];
}

export const udpHeader = (source: number, destination: number): number[] => [
  ...be16(source),
  ...be16(destination),
  0,
  8,
  0,
  0,
];

/** A record as the datapath writes it: an event that says what it does not mention is 0. */
export function record(packet: Uint8Array, event: Partial<PacketEvent> = {}): Uint8Array {
  const bytes = new Uint8Array(PacketEventCodec.size + packet.length);
  const whole: PacketEvent = {
    ...PacketEventCodec.decode(bytes, 0),
    type: EventType.EVENT_TRACE,
    direction: TrafficDirection.DIR_EGRESS,
    ctState: CtState.CT_NEW,
    time: 417_000_000n,
    sourceIdentity: FRONTEND.identity,
    destinationIdentity: BACKEND.identity,
    endpoint: FRONTEND.id,
    originalLength: packet.length,
    capturedLength: packet.length,
    ...event,
  };
  PacketEventCodec.encode(bytes, 0, whole);
  bytes.set(packet, PacketEventCodec.size);
  return bytes;
}

export function flowOf(bytes: Uint8Array): Flow {
  const taken = takeRecord(CLUSTER, bytes, 0, bytes.length);
  if (!taken) throw new Error('not taken');
  return buildFlow(CLUSTER, taken);
}

export const tcpFlow = (event: Partial<PacketEvent> = {}, flags = SYN): Flow =>
  flowOf(record(ipv4(6, tcpHeader(41_822, 8080, flags)), event));
