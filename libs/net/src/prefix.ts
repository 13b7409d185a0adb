// SPDX-License-Identifier: Apache-2.0
import { addressFamily, bytesToAddress, parseAddress, type AddressFamily } from './address.ts';

/** A CIDR prefix; `address` is its canonical base address (host bits zero). */
export interface Prefix {
  readonly family: AddressFamily;
  readonly address: string;
  readonly bits: number;
}

/** Parses `10.0.0.0/8`, `fd00::/64`, or a bare address (full length); host bits are cleared. Undefined where invalid. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!bytes) return undefined;
  const width = bytes.length * 8;
  const lengthText = slash < 0 ? String(width) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const bits = Number(lengthText);
  if (bits > width) return undefined;
  return { family: addressFamily(text), address: bytesToAddress(clearHostBits(bytes, bits)), bits };
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address}/${prefix.bits}`;
}

function clearHostBits(bytes: Uint8Array, bits: number): Uint8Array {
  const cleared = Uint8Array.from(bytes);
  for (let i = 0; i < cleared.length; i++) {
    const keep = Math.min(8, Math.max(0, bits - 8 * i));
    cleared[i] = cleared[i]! & (0xff << (8 - keep));
  }
  return cleared;
}

/** True where every address of `inner` lies in `outer`. */
export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  return outer.bits <= inner.bits && prefixContainsAddress(outer, inner.address);
}

export function prefixContainsAddress(prefix: Prefix, address: string): boolean {
  const bytes = parseAddress(address);
  if (!bytes || addressFamily(address) !== prefix.family) return false;
  return bytesToAddress(clearHostBits(bytes, prefix.bits)) === prefix.address;
}
