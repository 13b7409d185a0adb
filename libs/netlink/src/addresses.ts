// SPDX-License-Identifier: Apache-2.0
import { bytesToAddress } from '@cilium-ts/net';
import { AF_UNSPEC, familyOf, splitPrefix, type LinkRef, type Request } from './request.ts';
import { Attributes, NLM_F_CREATE, NLM_F_REPLACE, Writer } from './wire.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 2;
const IFA_F_NOPREFIXROUTE = 0x200;

export interface AddressOptions {
  readonly link: LinkRef;
  /** `10.0.0.1/24`, `fd00::1/64`; without length a host address. */
  readonly address: string;
  /** Default true: an IPv6 address is usable at once, without duplicate detection. */
  readonly nodad?: boolean;
  /** Default false: do not make the route to the address's own prefix. */
  readonly noPrefixRoute?: boolean;
  readonly scope?: number;
}

export interface Address {
  readonly link: number;
  /** Without length. */
  readonly address: string;
  readonly bits: number;
  readonly family: 4 | 6;
  readonly scope: number;
}

function addressBody(options: AddressOptions, index: number): Uint8Array {
  const { bytes, bits } = splitPrefix(options.address);
  const writer = new Writer();
  const flags =
    (options.nodad === false ? 0 : IFA_F_NODAD) | (options.noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0);
  writer
    .u8(familyOf(bytes))
    .u8(bits)
    .u8(0)
    .u8(options.scope ?? 0)
    .u32(index);
  writer.attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes).attributeU32(IFA_FLAGS, flags);
  return writer.bytes();
}

/** Adds an address, or changes the flags of the one that is there. */
export function addAddress(options: AddressOptions): Request {
  return {
    what: `add address ${options.address} to ${options.link}`,
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    accept: [],
    body: (resolve) => addressBody(options, resolve(options.link)),
  };
}

export function deleteAddress(link: LinkRef, address: string): Request {
  return {
    what: `delete address ${address} of ${link}`,
    type: RTM_DELADDR,
    flags: 0,
    accept: [],
    body: (resolve) => addressBody({ link, address }, resolve(link)),
  };
}

export function addressQuery(): Uint8Array {
  return new Writer().u8(AF_UNSPEC).u8(0).u8(0).u8(0).u32(0).bytes();
}

export function decodeAddress(body: Uint8Array): Address {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const list = new Attributes(body.subarray(8));
  const bytes = list.bytes(IFA_LOCAL) ?? list.bytes(IFA_ADDRESS) ?? new Uint8Array(4);
  return {
    link: view.getUint32(4, true),
    address: bytesToAddress(bytes),
    bits: body[1]!,
    family: bytes.length === 4 ? 4 : 6,
    scope: body[3]!,
  };
}
