// SPDX-License-Identifier: Apache-2.0
import { IPVersion, type Layer4, type TCPFlags } from '@cilium-ts/proto';
import { PROTOCOL, readBe16, type Packet } from './packet.ts';

/** In the order that summaries print them. */
export const TCP_FLAG_NAMES = ['SYN', 'ACK', 'RST', 'FIN', 'PSH', 'URG', 'ECE', 'CWR', 'NS'] as const;

const SCTP_CHUNKS: Readonly<Record<number, number>> = { 1: 1, 2: 2, 7: 3, 8: 4, 14: 5, 6: 6 };

const ICMPV4_NAMES: Readonly<Record<number, string>> = {
  0: 'EchoReply',
  3: 'DestinationUnreachable',
  4: 'SourceQuench',
  5: 'Redirect',
  8: 'EchoRequest',
  9: 'RouterAdvertisement',
  10: 'RouterSolicitation',
  11: 'TimeExceeded',
  12: 'ParameterProblem',
  13: 'TimestampRequest',
  14: 'TimestampReply',
};

const ICMPV4_UNREACHABLE = ['Net', 'Host', 'Protocol', 'Port', 'FragmentationNeeded', 'SourceRoutingFailed'];

const ICMPV6_NAMES: Readonly<Record<number, string>> = {
  1: 'DestinationUnreachable',
  2: 'PacketTooBig',
  3: 'TimeExceeded',
  4: 'ParameterProblem',
  128: 'EchoRequest',
  129: 'EchoReply',
  133: 'RouterSolicitation',
  134: 'RouterAdvertisement',
  135: 'NeighborSolicitation',
  136: 'NeighborAdvertisement',
  137: 'Redirect',
};

const ICMPV6_UNREACHABLE = ['NoRouteToDst', 'AdminProhibited', 'BeyondScopeOfSrcAddr', 'Address', 'Port'];

export function tcpFlags(bits: number): TCPFlags {
  return {
    FIN: (bits & 1) !== 0,
    SYN: (bits & 2) !== 0,
    RST: (bits & 4) !== 0,
    PSH: (bits & 8) !== 0,
    ACK: (bits & 16) !== 0,
    URG: (bits & 32) !== 0,
    ECE: (bits & 64) !== 0,
    CWR: (bits & 128) !== 0,
    NS: (bits & 256) !== 0,
  };
}

/** Undefined where the packet has none that we know, or it was cut off. */
export function parseLayer4(bytes: Uint8Array, packet: Packet): Layer4 | undefined {
  const at = packet.l4;
  if (at < 0) return undefined;
  const left = bytes.length - at;
  const ports = { sourcePort: readBe16(bytes, at), destinationPort: readBe16(bytes, at + 2) };
  switch (packet.protocol) {
    case PROTOCOL.TCP:
      if (left < 14) return undefined;
      return layer4({ $case: 'TCP', value: { ...ports, flags: tcpFlags(readBe16(bytes, at + 12) & 0x1ff) } });
    case PROTOCOL.UDP:
      return left < 4 ? undefined : layer4({ $case: 'UDP', value: ports });
    case PROTOCOL.SCTP: {
      if (left < 4) return undefined;
      const chunk = SCTP_CHUNKS[bytes[at + 12] ?? -1] ?? 0;
      return layer4({ $case: 'SCTP', value: { ...ports, chunkType: chunk as 0 } });
    }
    case PROTOCOL.ICMP:
      return left < 2
        ? undefined
        : layer4({ $case: 'ICMPv4', value: { type: bytes[at]!, code: bytes[at + 1]! } });
    case PROTOCOL.ICMPV6:
      return left < 2
        ? undefined
        : layer4({ $case: 'ICMPv6', value: { type: bytes[at]!, code: bytes[at + 1]! } });
    default:
      return parseRare(bytes, packet.protocol, at);
  }
}

function parseRare(bytes: Uint8Array, protocol: number, at: number): Layer4 | undefined {
  const left = bytes.length - at;
  if (protocol === PROTOCOL.VRRP && left >= 3) {
    const value = { type: bytes[at]! & 15, vrid: bytes[at + 1]!, priority: bytes[at + 2]! };
    return layer4({ $case: 'VRRP', value });
  }
  if (protocol === PROTOCOL.IGMP && left >= 8) {
    const groupAddress = `${bytes[at + 4]}.${bytes[at + 5]}.${bytes[at + 6]}.${bytes[at + 7]}`;
    return layer4({ $case: 'IGMP', value: { type: bytes[at]!, groupAddress } });
  }
  return undefined;
}

function layer4(protocol: NonNullable<Layer4['protocol']>): Layer4 {
  return { protocol };
}

/** Source and destination port, 0 where the protocol has none. */
export function portsOf(l4: Layer4 | undefined): { readonly source: number; readonly destination: number } {
  const protocol = l4?.protocol;
  switch (protocol?.$case) {
    case 'TCP':
    case 'UDP':
    case 'SCTP':
      return { source: protocol.value.sourcePort, destination: protocol.value.destinationPort };
    default:
      return { source: 0, destination: 0 };
  }
}

export function flagNames(flags: TCPFlags | undefined): string[] {
  return flags ? TCP_FLAG_NAMES.filter((name) => flags[name]) : [];
}

/** One line about the packet: `TCP Flags: SYN, ACK`, `UDP`, `ICMPv4 EchoRequest`. */
export function summarize(l4: Layer4 | undefined, version: number): string {
  const protocol = l4?.protocol;
  switch (protocol?.$case) {
    case 'TCP':
      return `TCP Flags: ${flagNames(protocol.value.flags).join(', ')}`;
    case 'UDP':
    case 'SCTP':
      return protocol.$case;
    case 'ICMPv4':
      return `ICMPv4 ${icmpName(protocol.value, ICMPV4_NAMES, 3, ICMPV4_UNREACHABLE)}`;
    case 'ICMPv6':
      return `ICMPv6 ${icmpName(protocol.value, ICMPV6_NAMES, 1, ICMPV6_UNREACHABLE)}`;
    case 'VRRP':
      return `VRRP VRID: ${protocol.value.vrid}`;
    case 'IGMP':
      return `IGMP group: ${protocol.value.groupAddress}`;
    default:
      return version === IPVersion.IPv4 ? 'IPv4' : version === IPVersion.IPv6 ? 'IPv6' : 'Ethernet';
  }
}

function icmpName(
  message: { readonly type: number; readonly code: number },
  names: Readonly<Record<number, string>>,
  unreachable: number,
  codes: readonly string[],
): string {
  const name = names[message.type];
  if (name === undefined) return `${message.type}(${message.code})`;
  if (message.type === unreachable) return `${name}(${codes[message.code] ?? message.code})`;
  return name;
}
