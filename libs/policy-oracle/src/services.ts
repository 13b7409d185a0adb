// SPDX-License-Identifier: Apache-2.0
import type { PortRange } from './entry.ts';
import { PROTOCOLS, type Direction, type World } from './world.ts';

export const TRANSPORTS = ['TCP', 'UDP', 'SCTP'] as const;
export type Transport = (typeof TRANSPORTS)[number];

const ICMP_NAMES: Readonly<Record<'IPv4' | 'IPv6', Readonly<Record<string, number>>>> = {
  IPv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  IPv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequestMessage: 144,
    HomeAgentAddressDiscoveryReplyMessage: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
};

/** All ports of one transport protocol. */
export function allPorts(protocol: Transport): PortRange {
  return { protocol: PROTOCOLS[protocol], low: 0, high: 65535 };
}

/** A port by number: `end` makes a range of exactly its ports, a lone 0 means every port. */
export function numbered(protocol: Transport, port: number, end = 0): PortRange {
  if (port === 0 && end === 0) return allPorts(protocol);
  return { protocol: PROTOCOLS[protocol], low: port, high: Math.max(port, end) };
}

/** A port by name; nothing where the name is unknown. A name with several numbers allows none and denies all. */
export function named(world: World, direction: Direction, protocol: Transport, name: string): PortRange[] {
  const known = direction === 'ingress' ? world.subject.namedPorts : world.namedPorts;
  const numbers = new Set(
    known.filter((port) => port.name === name && port.protocol === protocol).map(({ port }) => port),
  );
  const ambiguous = numbers.size > 1;
  return [...numbers].map((port) => ({ ...numbered(protocol, port), ...(ambiguous ? { ambiguous } : {}) }));
}

export interface IcmpField {
  readonly family?: string;
  readonly type: number | string;
}

/** ICMP is keyed by its type; the code is not matched. */
export function icmpType(field: IcmpField): PortRange[] {
  const family = field.family === 'IPv6' ? 'IPv6' : 'IPv4';
  const protocol = family === 'IPv6' ? PROTOCOLS.ICMPV6 : PROTOCOLS.ICMP;
  const text = String(field.type);
  const type = /^\d+$/.test(text) ? Number(text) : ICMP_NAMES[family][text];
  return type === undefined ? [] : [{ protocol, low: type, high: type }];
}
