// SPDX-License-Identifier: Apache-2.0
import { addressToBytes, bytesToAddress, parseMac } from '@cilium-ts/net';

export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export interface PacketSpec {
  source: string;
  destination: string;
  protocol: 'tcp' | 'udp' | 'sctp' | 'icmp' | number;
  sourceMac?: string;
  destinationMac?: string;
  /** For ICMP echo: the identifier. */
  sourcePort?: number;
  destinationPort?: number;
  tcpFlags?: number;
  icmpType?: number;
  /** Of an ICMP error: the packet it speaks of, from its IP header on. */
  inner?: Uint8Array;
  payload?: Uint8Array;
  hops?: number;
  /** Payload offset in bytes (multiple of 8) and whether more follow; the first one carries the transport header. */
  fragment?: { id: number; offset: number; more: boolean };
  /** IPv4 options, or raw IPv6 extension headers with the next header of the first in `firstExtension`. */
  options?: Uint8Array;
}

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
const ICMP = 1;
const ICMPV6 = 58;

/** Ethernet frame of at least 14 bytes, all checksums right. */
export function buildPacket(spec: PacketSpec): Uint8Array {
  const v6 = spec.source.includes(':');
  const network = v6 ? buildIpv6(spec) : buildIpv4(spec);
  const frame = new Uint8Array(14 + network.length);
  frame.set(parseMac(spec.destinationMac ?? '02:00:00:00:00:fe'), 0);
  frame.set(parseMac(spec.sourceMac ?? '02:00:00:00:00:01'), 6);
  frame.set(v6 ? [0x86, 0xdd] : [0x08, 0x00], 12);
  frame.set(network, 14);
  return frame;
}

function protocolNumber(spec: PacketSpec): number {
  if (typeof spec.protocol === 'number') return spec.protocol;
  if (spec.protocol === 'icmp') return spec.source.includes(':') ? ICMPV6 : ICMP;
  return PROTOCOLS[spec.protocol];
}

function buildIpv4(spec: PacketSpec): Uint8Array {
  const body = fragmentOf(spec);
  const header = 20 + (spec.options?.length ?? 0);
  const bytes = new Uint8Array(header + body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x40 | (header / 4);
  view.setUint16(2, bytes.length);
  if (spec.fragment) {
    view.setUint16(4, spec.fragment.id);
    view.setUint16(6, (spec.fragment.offset / 8) | (spec.fragment.more ? 0x2000 : 0));
  }
  bytes[8] = spec.hops ?? 64;
  bytes[9] = protocolNumber(spec);
  bytes.set(addressToBytes(spec.source), 12);
  bytes.set(addressToBytes(spec.destination), 16);
  if (spec.options) bytes.set(spec.options, 20);
  view.setUint16(10, fold(sum(bytes.subarray(0, header))));
  bytes.set(body, header);
  return bytes;
}

function buildIpv6(spec: PacketSpec): Uint8Array {
  const body = fragmentOf(spec);
  const extensions = spec.fragment ? fragmentHeader(spec, spec.fragment) : (spec.options ?? new Uint8Array());
  const bytes = new Uint8Array(40 + extensions.length + body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x60;
  view.setUint16(4, bytes.length - 40);
  bytes[6] = spec.fragment ? 44 : spec.options ? 60 : protocolNumber(spec);
  bytes[7] = spec.hops ?? 64;
  bytes.set(addressToBytes(spec.source), 8);
  bytes.set(addressToBytes(spec.destination), 24);
  bytes.set(extensions, 40);
  bytes.set(body, 40 + extensions.length);
  return bytes;
}

function fragmentHeader(
  spec: PacketSpec,
  fragment: { id: number; offset: number; more: boolean },
): Uint8Array {
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  header[0] = protocolNumber(spec);
  view.setUint16(2, fragment.offset | (fragment.more ? 1 : 0));
  view.setUint32(4, fragment.id);
  return header;
}

function fragmentOf(spec: PacketSpec): Uint8Array {
  if (spec.fragment && spec.fragment.offset > 0) return spec.payload ?? new Uint8Array(8);
  return transport(spec);
}

function transport(spec: PacketSpec): Uint8Array {
  const protocol = protocolNumber(spec);
  const payload = spec.inner ?? spec.payload ?? new Uint8Array();
  const bytes = new Uint8Array((protocol === 6 ? 20 : protocol === 132 ? 12 : 8) + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set(payload, bytes.length - payload.length);
  if (protocol === ICMP || protocol === ICMPV6) {
    bytes[0] = spec.icmpType ?? (protocol === ICMP ? 8 : 128);
    if (!spec.inner) view.setUint16(4, spec.sourcePort ?? 0);
    view.setUint16(2, transportChecksum(spec, protocol, bytes));
    return bytes;
  }
  view.setUint16(0, spec.sourcePort ?? 0);
  view.setUint16(2, spec.destinationPort ?? 0);
  if (protocol === 6) {
    bytes[12] = 0x50;
    bytes[13] = spec.tcpFlags ?? TcpFlag.ack;
    view.setUint16(16, transportChecksum(spec, protocol, bytes));
  } else if (protocol === 17) {
    view.setUint16(4, bytes.length);
    view.setUint16(6, transportChecksum(spec, protocol, bytes) || 0xffff);
  }
  return bytes;
}

function transportChecksum(
  spec: { source: string; destination: string },
  protocol: number,
  bytes: Uint8Array,
): number {
  if (protocol === ICMP) return fold(sum(bytes));
  const pseudo =
    sum(addressToBytes(spec.source)) + sum(addressToBytes(spec.destination)) + protocol + bytes.length;
  return fold(pseudo + sum(bytes));
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  return total;
}

function fold(total: number): number {
  let value = total;
  while (value > 0xffff) value = (value & 0xffff) + Math.floor(value / 0x10000);
  return ~value & 0xffff;
}

/** What a frame says, as far as tests ask. */
export interface ReadPacket {
  source: string;
  destination: string;
  protocol: number;
  sourcePort: number;
  destinationPort: number;
  hops: number;
  /** All checksums of an unfragmented packet hold. */
  checksumsRight: boolean;
  /** The transport bytes. */
  transport: Uint8Array;
}

/** Reads an Ethernet frame without extension headers. */
export function readPacket(frame: Uint8Array): ReadPacket {
  const v6 = frame[12] === 0x86;
  const ip = frame.subarray(14);
  const header = v6 ? 40 : (ip[0]! & 15) * 4;
  const end = v6 ? 40 + ((ip[4]! << 8) | ip[5]!) : (ip[2]! << 8) | ip[3]!;
  const body = ip.subarray(header, end);
  const source = bytesToAddress(v6 ? ip.subarray(8, 24) : ip.subarray(12, 16));
  const destination = bytesToAddress(v6 ? ip.subarray(24, 40) : ip.subarray(16, 20));
  const protocol = v6 ? ip[6]! : ip[9]!;
  const icmp = protocol === ICMP || protocol === ICMPV6;
  const port = (at: number): number => (body[at]! << 8) | body[at + 1]!;
  const headerRight = v6 || fold(sum(ip.subarray(0, header))) === 0;
  return {
    source,
    destination,
    protocol,
    sourcePort: icmp ? port(4) : port(0),
    destinationPort: icmp ? port(4) : port(2),
    hops: v6 ? ip[7]! : ip[8]!,
    checksumsRight: headerRight && transportChecksum({ source, destination }, protocol, body) === 0,
    transport: body,
  };
}
