// SPDX-License-Identifier: Apache-2.0
// Hand-made events, as the datapath writes them, and lookups from literals.
import { PacketEventCodec, type PacketEvent } from '@cilium-ts/abi';
import { addressToBytes } from '@cilium-ts/net';
import type { FlowDecision, FlowEndpoint, FlowEventBatch, FlowLookups, FlowService } from './ports.ts';

export interface PacketInput {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Lower 8 TCP flag bits. */
  readonly flags?: number;
  /** ICMP type and code. */
  readonly type?: number;
  readonly code?: number;
  readonly fragmentOffset?: number;
}

function layer4(input: PacketInput): number[] {
  const { sourcePort = 0, destinationPort = 0, protocol } = input;
  const ports = [sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255];
  if (protocol === 6) return [...ports, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, input.flags ?? 2, 0, 0, 0, 0, 0, 0];
  if (protocol === 17) return [...ports, 0, 8, 0, 0];
  if (protocol === 132) return [...ports, 0, 0, 0, 0, 0, 0, 0, 0, input.type ?? 1, 0, 0, 4];
  return [input.type ?? 8, input.code ?? 0, 0, 0, 0, 1, 0, 1];
}

/** Ethernet, IPv4 or IPv6, and the L4 head. */
export function packetBytes(input: PacketInput): Uint8Array {
  const isV6 = input.source.includes(':');
  const body = layer4(input);
  const macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
  const source = [...addressToBytes(input.source)];
  const destination = [...addressToBytes(input.destination)];
  const fragment = (input.fragmentOffset ?? 0) >> 3;
  const ip = isV6
    ? [0x60, 0, 0, 0, 0, body.length, input.protocol, 64, ...source, ...destination]
    : [
        0x45,
        0,
        0,
        20 + body.length,
        0,
        1,
        fragment >> 8,
        fragment & 255,
        64,
        input.protocol,
        0,
        0,
        ...source,
        ...destination,
      ];
  return Uint8Array.from([...macs, ...(isV6 ? [0x86, 0xdd] : [8, 0]), ...ip, ...body]);
}

const EMPTY_EVENT: PacketEvent = {
  type: 4,
  subtype: 0,
  direction: 0,
  ctState: 0,
  file: 1,
  flags: 0,
  line: 100,
  time: 0n,
  hash: 0,
  sequence: 0,
  sourceIdentity: 0,
  destinationIdentity: 0,
  ifindex: 0,
  ruleSet: 0,
  origin: 0,
  endpoint: 0,
  peerEndpoint: 0,
  originalLength: 0,
  capturedLength: 0,
  cpu: 0,
  matchType: 0,
  protocol: 6,
  originalIp: '',
  service: 0,
  policyPort: 0,
};

/** One ring record: the event and the captured packet. */
export function eventBytes(event: Partial<PacketEvent>, packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PacketEventCodec.size + packet.length);
  const lengths = { originalLength: packet.length, capturedLength: packet.length };
  PacketEventCodec.encode(bytes, 0, { ...EMPTY_EVENT, ...lengths, ...event });
  bytes.set(packet, PacketEventCodec.size);
  return bytes;
}

export function batchOf(records: readonly Uint8Array[]): FlowEventBatch {
  return { forEach: (use) => records.forEach((bytes) => use(bytes, 0, bytes.length)) };
}

export interface LookupInput {
  readonly nodeName?: string;
  readonly clusterName?: string;
  readonly endpoints?: Readonly<Record<string, FlowEndpoint>>;
  readonly services?: Readonly<Record<string, FlowService>>;
  readonly labels?: Readonly<Record<number, readonly string[]>>;
  /** By `ruleSet/origin/direction`. */
  readonly decisions?: Readonly<Record<string, FlowDecision>>;
  readonly clockOffset?: bigint;
}

export function lookupsOf(input: LookupInput): FlowLookups {
  return {
    nodeName: input.nodeName ?? 'node1',
    clusterName: input.clusterName ?? 'default',
    version: '0.1.0',
    endpointByAddress: (address) => input.endpoints?.[address],
    identityLabels: (identity) => input.labels?.[identity] ?? [],
    serviceByAddress: (address, port) => input.services?.[`${address}:${port}`],
    originOf: (ruleSet, origin, direction) => input.decisions?.[`${ruleSet}/${origin}/${direction}`],
    interfaceName: (ifindex) => `lxc${ifindex}`,
    clockOffset: () => input.clockOffset ?? 0n,
  };
}

/** The seed's two pods, on nodes of their own. */
export const FRONTEND: FlowEndpoint = {
  id: 12,
  identity: 18211,
  namespace: 'production',
  podName: 'frontend-6f9c7d8b5c-x7k2p',
  labels: ['k8s:app=frontend', 'k8s:io.kubernetes.pod.namespace=production'],
};

export const BACKEND: FlowEndpoint = {
  id: 0,
  identity: 20455,
  namespace: 'production',
  podName: 'backend-0',
  labels: ['k8s:app=backend', 'k8s:tier=db', 'k8s:io.kubernetes.pod.namespace=production'],
};

export const SEED_LOOKUPS: LookupInput = {
  endpoints: { '10.244.1.7': FRONTEND, '10.244.2.9': BACKEND, 'fd00:10:244:1::7': FRONTEND },
  services: { '10.96.0.20:8080': { namespace: 'production', name: 'backend' } },
  labels: { 1: ['reserved:host'], 2: ['reserved:world'] },
  decisions: {
    '3/0/egress': {
      kind: 'default-deny',
      isolatedBy: [
        {
          kind: 'CiliumNetworkPolicy',
          namespace: 'production',
          name: 'allow-frontend-to-backend',
          path: 'egress',
          line: 5,
        },
      ],
    },
    '3/1/egress': {
      kind: 'origin',
      origin: {
        kind: 'CiliumNetworkPolicy',
        namespace: 'production',
        name: 'allow-frontend-to-backend',
        path: 'egress[0].toPorts[0]',
        line: 9,
      },
    },
    '4/2/ingress': {
      kind: 'origin',
      verdict: 'deny',
      origin: {
        kind: 'CiliumClusterwideNetworkPolicy',
        name: 'deny-cross-namespace',
        path: 'ingressDeny[0]',
        line: 3,
      },
    },
  },
};
