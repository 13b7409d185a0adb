// SPDX-License-Identifier: Apache-2.0
import { bytesToAddress, formatAddressPort, protocolName } from '@cilium-ts/net';

export interface PacketSummary {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: string;
  /** `10.0.0.1:40000 -> 10.0.0.2:80 tcp SYN` */
  readonly text: string;
}

const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
const EMPTY: PacketSummary = {
  source: '',
  destination: '',
  sourcePort: 0,
  destinationPort: 0,
  protocol: '',
  text: '',
};

const be16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** Addresses and ports of a captured packet head; empty where it is no IP packet. */
export function summarizePacket(bytes: Uint8Array, startsWithIp: boolean): PacketSummary {
  const at = startsWithIp ? 0 : 14;
  const version = (bytes[at] ?? 0) >> 4;
  const wanted = version === 4 ? 20 : 40;
  if ((version !== 4 && version !== 6) || bytes.length < at + wanted) return EMPTY;
  const isV4 = version === 4;
  const protocol = bytes[at + (isV4 ? 9 : 6)]!;
  const address = (offset: number): string =>
    bytesToAddress(bytes.subarray(at + offset, at + offset + (isV4 ? 4 : 16)));
  const source = address(isV4 ? 12 : 8);
  const destination = address(isV4 ? 16 : 24);
  const l4 = at + (isV4 ? (bytes[at]! & 15) * 4 : 40);
  return withPorts({ source, destination, protocol: protocolName(protocol) }, protocol, bytes, l4);
}

function withPorts(
  ip: { source: string; destination: string; protocol: string },
  protocol: number,
  bytes: Uint8Array,
  l4: number,
): PacketSummary {
  const hasPorts = (protocol === 6 || protocol === 17 || protocol === 132) && bytes.length >= l4 + 4;
  const sourcePort = hasPorts ? be16(bytes, l4) : 0;
  const destinationPort = hasPorts ? be16(bytes, l4 + 2) : 0;
  const side = (host: string, port: number): string => (hasPorts ? formatAddressPort(host, port) : host);
  const ends = `${side(ip.source, sourcePort)} -> ${side(ip.destination, destinationPort)}`;
  return { ...ip, sourcePort, destinationPort, text: `${ends} ${protocolText(protocol, bytes, l4)}` };
}

function protocolText(protocol: number, bytes: Uint8Array, l4: number): string {
  const flags = bytes[l4 + 13];
  if (protocol === 6 && flags !== undefined) {
    const names = TCP_FLAGS.filter((_, bit) => (flags & (1 << bit)) !== 0);
    return `tcp ${names.join(', ')}`.trim();
  }
  if (protocol === 1 || protocol === 58) {
    const echo =
      protocol === 1 ? { 8: 'EchoRequest', 0: 'EchoReply' } : { 128: 'EchoRequest', 129: 'EchoReply' };
    const type = bytes[l4] ?? 0;
    const name = (echo as Record<number, string>)[type] ?? `type ${type}`;
    return `${protocol === 1 ? 'icmp' : 'icmpv6'} ${name}`;
  }
  return protocolName(protocol).toLowerCase();
}
