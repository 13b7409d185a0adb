// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { addressToBytes } from '@cilium-ts/net';

/** A device: its number, or its name in the namespace of the request. */
export type LinkRef = number | string;

/** Finds a device's number; undefined while it does not exist. */
export type ResolveLink = (link: LinkRef) => number;

/** One change to ask the kernel for. Built by the functions of this library, carried out by Netlink.run. */
export interface Request {
  /** For error messages: what is being done. */
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  readonly body: (resolve: ResolveLink) => Uint8Array;
  /** Error names that mean the wanted state is there already. */
  readonly accept: readonly string[];
}

/** The same request, for which some errors (such as EEXIST on add, ENODEV on delete) are no failure. */
export function accepting(request: Request, ...codes: readonly string[]): Request {
  return { ...request, accept: [...request.accept, ...codes] };
}

export const AF_UNSPEC = 0;
export const AF_BRIDGE = 7;
export const AF_INET = 2;
export const AF_INET6 = 10;

export function familyOf(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF_INET : AF_INET6;
}

/** Address bytes and length of `10.0.0.1/24` (host bits kept) or of a bare address (full length). */
export function splitPrefix(text: string): { bytes: Uint8Array; bits: number } {
  const slash = text.indexOf('/');
  const bytes = addressToBytes(slash < 0 ? text : text.slice(0, slash));
  if (slash < 0) return { bytes, bits: bytes.length * 8 };
  const bits = Number(text.slice(slash + 1));
  if (!/^\d+$/.test(text.slice(slash + 1)) || bits > bytes.length * 8) {
    throw new AppError('bad-prefix', `not a prefix: ${JSON.stringify(text)}`);
  }
  return { bytes, bits };
}

/** Like splitPrefix, host bits cleared, as routes and rules want it. */
export function networkPrefix(text: string): { bytes: Uint8Array; bits: number } {
  const { bytes, bits } = splitPrefix(text);
  const masked = bytes.map((byte, i) => byte & (0xff00 >> Math.max(0, Math.min(8, bits - 8 * i))) & 0xff);
  return { bytes: masked, bits };
}
