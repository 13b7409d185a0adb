// SPDX-License-Identifier: Apache-2.0
// The head of a captured packet, L2 to L4. Everything may be cut off or forged: a reader never trusts a length.
import { bytesToAddress, formatMac } from '@cilium-ts/net';

export interface Packet {
  /** Empty on devices without Ethernet. */
  readonly sourceMac: string;
  readonly destinationMac: string;
  /** 0: neither IPv4 nor IPv6. */
  readonly version: 0 | 4 | 6;
  readonly source: string;
  readonly destination: string;
  /** IP protocol number of the innermost header, -1 where unknown. */
  readonly protocol: number;
  /** Offset of the L4 header in the bytes; -1: cut off, or a later fragment. */
  readonly l4: number;
}

export const PROTOCOL = { ICMP: 1, IGMP: 2, TCP: 6, UDP: 17, ICMPV6: 58, VRRP: 112, SCTP: 132 } as const;

const ETHERNET_LENGTH = 14;
/** Hop-by-hop, routing, destination options: next header, then length in units of 8 bytes. */
const EXTENSIONS = new Set([0, 43, 60]);
const FRAGMENT = 44;
const EXTENSIONS_MAX = 8;
const NOT_IP = { version: 0, source: '', destination: '', protocol: -1, l4: -1 } as const;

export const readBe16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

export function parsePacket(bytes: Uint8Array, startsWithIp: boolean): Packet {
  if (startsWithIp) return { sourceMac: '', destinationMac: '', ...parseIp(bytes, 0) };
  if (bytes.length < ETHERNET_LENGTH) return { sourceMac: '', destinationMac: '', ...NOT_IP };
  return {
    sourceMac: formatMac(bytes.subarray(6, 12)),
    destinationMac: formatMac(bytes.subarray(0, 6)),
    ...parseIp(bytes, ETHERNET_LENGTH),
  };
}

type Ip = Omit<Packet, 'sourceMac' | 'destinationMac'>;

function parseIp(bytes: Uint8Array, at: number): Ip {
  const version = (bytes[at] ?? 0) >> 4;
  if (version === 4) return parseV4(bytes, at);
  return version === 6 ? parseV6(bytes, at) : NOT_IP;
}

function parseV4(bytes: Uint8Array, at: number): Ip {
  if (bytes.length < at + 20) return NOT_IP;
  const length = (bytes[at]! & 15) * 4;
  if (length < 20) return NOT_IP;
  const isLaterFragment = (readBe16(bytes, at + 6) & 0x1fff) !== 0;
  const l4 = at + length;
  return {
    version: 4,
    source: bytesToAddress(bytes.subarray(at + 12, at + 16)),
    destination: bytesToAddress(bytes.subarray(at + 16, at + 20)),
    protocol: bytes[at + 9]!,
    l4: isLaterFragment || l4 >= bytes.length ? -1 : l4,
  };
}

function parseV6(bytes: Uint8Array, at: number): Ip {
  if (bytes.length < at + 40) return NOT_IP;
  let protocol = bytes[at + 6]!;
  let l4 = at + 40;
  for (let i = 0; i < EXTENSIONS_MAX && l4 >= 0; i++) {
    if (EXTENSIONS.has(protocol) && l4 + 2 <= bytes.length) {
      protocol = bytes[l4]!;
      l4 += (bytes[l4 + 1]! + 1) * 8;
    } else if (protocol === FRAGMENT && l4 + 8 <= bytes.length) {
      const isLaterFragment = (readBe16(bytes, l4 + 2) & 0xfff8) !== 0;
      protocol = bytes[l4]!;
      l4 = isLaterFragment ? -1 : l4 + 8;
    } else break;
  }
  return {
    version: 6,
    source: bytesToAddress(bytes.subarray(at + 8, at + 24)),
    destination: bytesToAddress(bytes.subarray(at + 24, at + 40)),
    protocol,
    l4: l4 >= bytes.length ? -1 : l4,
  };
}
