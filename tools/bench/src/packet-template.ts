// SPDX-License-Identifier: Apache-2.0
// What bpf/tests/bench_wrapper.c reads: struct bench_template.
import { addressToBytes, parseMac } from '@cilium-ts/net';

export interface Template {
  /** The packet, at least 64 bytes. */
  readonly bytes: Uint8Array;
  readonly flows: number;
  readonly first: number;
  readonly portOffset: number;
  readonly addressOffset: number;
}

export interface TemplateSpec {
  readonly source: string;
  readonly destination: string;
  /** Whose port carries the flow number; the other end's is `port`, and its address takes the bits above 2^15. */
  readonly flowEnd: 'source' | 'destination';
  readonly port: number;
  readonly tcpFlags: number;
  readonly flows: number;
  readonly first?: number;
}

const IPV4 = 14;
const TCP = 34;
const LENGTH = 74;
const BYTES = 128;

/** An IPv4 TCP packet of 60 bytes behind its Ethernet header; checksums are left out: nobody looks. */
export function packetTemplate(spec: TemplateSpec): Template {
  const bytes = new Uint8Array(LENGTH);
  const view = new DataView(bytes.buffer);
  const fromPod = spec.flowEnd === 'source';
  bytes.set(parseMac('02:00:00:00:00:fe'), 0);
  bytes.set(parseMac('02:00:00:00:00:01'), 6);
  view.setUint16(12, 0x0800);
  bytes[IPV4] = 0x45;
  view.setUint16(IPV4 + 2, LENGTH - IPV4);
  bytes[IPV4 + 8] = 64;
  bytes[IPV4 + 9] = 6;
  bytes.set(addressToBytes(spec.source), IPV4 + 12);
  bytes.set(addressToBytes(spec.destination), IPV4 + 16);
  view.setUint16(TCP + (fromPod ? 2 : 0), spec.port);
  bytes[TCP + 12] = 0xa0;
  bytes[TCP + 13] = spec.tcpFlags;
  return {
    bytes,
    flows: spec.flows,
    first: spec.first ?? 0,
    portOffset: TCP + (fromPod ? 0 : 2),
    addressOffset: IPV4 + (fromPod ? 19 : 15),
  };
}

export function templateBytes(template: Template): Uint8Array {
  const bytes = new Uint8Array(BYTES + 24);
  const view = new DataView(bytes.buffer);
  bytes.set(template.bytes);
  const { flows, portOffset, addressOffset, first } = template;
  [template.bytes.length, flows, 0, portOffset, addressOffset, first].forEach((value, i) =>
    view.setUint32(BYTES + 4 * i, value, true),
  );
  return bytes;
}
