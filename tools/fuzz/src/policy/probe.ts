// SPDX-License-Identifier: Apache-2.0
// The questions asked of every case: who, which way, which protocol and port.
import { PROTOCOLS, type Direction } from '@cilium-ts/policy-oracle';
import type { Random } from '../random.ts';
import type { Setting } from './generate.ts';
import { ADDRESSES, EDGE_PORTS, ICMP_TYPES, ICMPV6_TYPES, PODS, RESERVED } from './universe.ts';

/** The remote end: somebody with an identity of its own, or an address that prefixes give one. */
export interface Peer {
  readonly name: string;
  /** Undefined for an address outside the cluster. */
  readonly identity?: number;
  readonly addresses: readonly string[];
}

export interface Probe {
  readonly direction: Direction;
  readonly peer: Peer;
  readonly protocol: number;
  /** The type for ICMP. */
  readonly port: number;
}

export const PEERS: readonly Peer[] = [
  ...PODS.map(({ identity, namespace, name, ipv4, ipv6 }) => ({
    name: `${namespace}/${name}`,
    identity,
    addresses: [ipv4, ipv6],
  })),
  ...RESERVED.map(({ identity, label, ipv4, ipv6 }) => ({
    name: `reserved:${label}`,
    identity,
    addresses: [ipv4, ipv6],
  })),
  ...ADDRESSES.map((address) => ({ name: address, addresses: [address] })),
];

const SERVICES: readonly (readonly [number, number])[] = [
  ...[PROTOCOLS.TCP, PROTOCOLS.UDP, PROTOCOLS.SCTP].flatMap((protocol) =>
    EDGE_PORTS.map((port) => [protocol, port] as const),
  ),
  ...ICMP_TYPES.map((type) => [PROTOCOLS.ICMP, type] as const),
  ...ICMPV6_TYPES.map((type) => [PROTOCOLS.ICMPV6, type] as const),
];

/** Every question there is. */
export const ALL_PROBES: readonly Probe[] = PEERS.flatMap((peer) =>
  (['ingress', 'egress'] as const).flatMap((direction) =>
    SERVICES.map(([protocol, port]) => ({ direction, peer, protocol, port })),
  ),
);

export function someProbes(random: Random, count: number, from = ALL_PROBES): Probe[] {
  return Array.from({ length: count }, () => random.pick(from));
}

export function formatProbe({ direction, peer, protocol, port }: Probe): string {
  const name = Object.entries(PROTOCOLS).find(([, number]) => number === protocol)?.[0] ?? String(protocol);
  return `${direction} ${direction === 'ingress' ? 'from' : 'to'} ${peer.name} port ${port}/${name}`;
}

function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOLS.ICMP || protocol === PROTOCOLS.ICMPV6;
}

/**
 * Questions a single packet can ask. ICMP errors are judged by the flow they speak of, types other than echo are all one
 * flow to the programs, and a packet has one family.
 */
const KERNEL_PROBES: readonly Probe[] = ALL_PROBES.filter(({ peer, protocol, port }) => {
  if (!isIcmp(protocol)) return true;
  const v6 = protocol === PROTOCOLS.ICMPV6;
  if (!peer.addresses.some((address) => address.includes(':') === v6)) return false;
  return v6 ? port === 128 || port === 129 : port === 8 || port === 0;
});

/** What the node says to itself crosses no device. */
const HOST_PROBES = KERNEL_PROBES.filter(({ peer }) => peer.identity !== 1);

export function kernelProbes({ subject }: Pick<Setting, 'subject'>): readonly Probe[] {
  return subject === 'host' ? HOST_PROBES : KERNEL_PROBES;
}
