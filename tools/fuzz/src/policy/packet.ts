// SPDX-License-Identifier: Apache-2.0
// A probe as a packet: Ethernet, IP and the first bytes of the transport. Checksums are left out: no program looks.
import { addressToBytes, parseMac } from '@cilium-ts/net';
import { PROTOCOLS } from '@cilium-ts/policy-oracle';

export const POD_MAC = '02:00:00:00:00:01';
const NODE_MAC = parseMac('02:00:00:00:00:fe');
const POD_MAC_BYTES = parseMac(POD_MAC);
const ETHERNET = 14;
const TRANSPORT = 20;
const SYN = 2;

export interface PacketSpec {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Source port; identifier of an ICMP echo. */
  readonly flow: number;
  /** Destination port or ICMP type. */
  readonly port: number;
}

export function probePacket({ source, destination, protocol, flow, port }: PacketSpec): Uint8Array {
  const v6 = source.includes(':');
  const at = ETHERNET + (v6 ? 40 : 20);
  const bytes = new Uint8Array(at + TRANSPORT);
  const view = new DataView(bytes.buffer);
  bytes.set(NODE_MAC, 0);
  bytes.set(POD_MAC_BYTES, 6);
  view.setUint16(12, v6 ? 0x86dd : 0x0800);
  if (v6) {
    bytes[14] = 0x60;
    view.setUint16(18, TRANSPORT);
    bytes[20] = protocol;
    bytes[21] = 64;
  } else {
    bytes[14] = 0x45;
    view.setUint16(16, 20 + TRANSPORT);
    bytes[22] = 64;
    bytes[23] = protocol;
  }
  bytes.set(addressToBytes(source), v6 ? 22 : 26);
  bytes.set(addressToBytes(destination), v6 ? 38 : 30);
  if (protocol === PROTOCOLS.ICMP || protocol === PROTOCOLS.ICMPV6) {
    bytes[at] = port;
    view.setUint16(at + 4, flow);
  } else {
    view.setUint16(at, flow);
    view.setUint16(at + 2, port);
    bytes[at + 12] = 0x50;
    bytes[at + 13] = protocol === PROTOCOLS.TCP ? SYN : 0;
  }
  return bytes;
}
