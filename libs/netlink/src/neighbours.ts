// SPDX-License-Identifier: Apache-2.0
import { addressToBytes, bytesToAddress, formatMac, parseMac } from '@cilium-ts/net';
import { AF_UNSPEC, familyOf, type LinkRef, type Request } from './request.ts';
import { Attributes, NLM_F_CREATE, NLM_F_REPLACE, Writer } from './wire.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

export interface NeighbourOptions {
  readonly link: LinkRef;
  readonly address: string;
  readonly mac: string;
}

export interface Neighbour {
  readonly link: number;
  readonly address: string;
  readonly mac: string | undefined;
  readonly permanent: boolean;
}

function neighbourBody(link: number, address: string, mac: string | undefined): Uint8Array {
  const bytes = addressToBytes(address);
  const writer = new Writer().u8(familyOf(bytes)).u8(0).u16(0).u32(link).u16(NUD_PERMANENT).u8(0).u8(0);
  writer.attribute(NDA_DST, bytes);
  if (mac !== undefined) writer.attribute(NDA_LLADDR, parseMac(mac));
  return writer.bytes();
}

/** A permanent entry, replaced where there is one. */
export function setNeighbour(options: NeighbourOptions): Request {
  return {
    what: `set neighbour ${options.address} on ${options.link}`,
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    accept: [],
    body: (resolve) => neighbourBody(resolve(options.link), options.address, options.mac),
  };
}

export function deleteNeighbour(link: LinkRef, address: string): Request {
  return {
    what: `delete neighbour ${address} on ${link}`,
    type: RTM_DELNEIGH,
    flags: 0,
    accept: [],
    body: (resolve) => neighbourBody(resolve(link), address, undefined),
  };
}

export function neighbourQuery(): Uint8Array {
  return new Writer().u8(AF_UNSPEC).u8(0).u16(0).u32(0).u16(0).u8(0).u8(0).bytes();
}

export function decodeNeighbour(body: Uint8Array): Neighbour {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const list = new Attributes(body.subarray(12));
  const mac = list.bytes(NDA_LLADDR);
  return {
    link: view.getUint32(4, true),
    address: bytesToAddress(list.bytes(NDA_DST) ?? new Uint8Array(4)),
    mac: mac && formatMac(mac),
    permanent: (view.getUint16(8, true) & NUD_PERMANENT) !== 0,
  };
}
