// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';

export type AddressFamily = 4 | 6;

const V4 = /^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;

export function addressFamily(text: string): AddressFamily {
  return text.includes(':') ? 6 : 4;
}

/** Address bytes (4 or 16), or undefined where the text is not an address. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

/** @throws AppError `bad-address` */
export function addressToBytes(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (!bytes) throw new AppError('bad-address', `not an IP address: ${JSON.stringify(text)}`);
  return bytes;
}

/** The canonical text (RFC 5952) of an address given in any accepted form. */
export function normalizeAddress(text: string): string {
  return bytesToAddress(addressToBytes(text));
}

function parseV4(text: string): Uint8Array | undefined {
  if (!V4.test(text)) return undefined;
  return Uint8Array.from(text.split('.'), Number);
}

function parseV6(text: string): Uint8Array | undefined {
  let head = text;
  const tail: number[] = [];
  const lastColon = text.lastIndexOf(':');
  if (text.includes('.')) {
    const v4 = parseV4(text.slice(lastColon + 1));
    if (!v4) return undefined;
    tail.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    head = text.slice(0, lastColon + (text[lastColon - 1] === ':' ? 1 : 0));
  }
  const halves = head.split('::');
  if (halves.length > 2) return undefined;
  const left = groups(halves[0]!);
  const right = halves.length === 2 ? groups(halves[1]!) : [];
  if (!left || !right) return undefined;
  right.push(...tail);
  const missing = 8 - left.length - right.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) {
    if (!(halves.length === 1 && left.length + right.length === 8)) return undefined;
  }
  const words = [...left, ...new Array<number>(Math.max(missing, 0)).fill(0), ...right];
  const bytes = new Uint8Array(16);
  words.forEach((word, i) => {
    bytes[2 * i] = word >> 8;
    bytes[2 * i + 1] = word & 0xff;
  });
  return bytes;
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const words: number[] = [];
  for (const part of text.split(':')) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    words.push(Number.parseInt(part, 16));
  }
  return words;
}

/** Text of 4 or 16 address bytes; IPv6 in the canonical form of RFC 5952. */
export function bytesToAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((bytes[i]! << 8) | bytes[i + 1]!);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && words[j] === 0) j++;
    if (j - i > bestLength) [best, bestLength] = [i, j - i];
    if (j > i) i = j;
  }
  const hex = words.map((word) => word.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

/** The 16-byte form used by all maps: IPv4 as ::ffff:a.b.c.d. @throws AppError `bad-address` */
export function mappedBytes(text: string): Uint8Array {
  const bytes = addressToBytes(text);
  if (bytes.length === 16) return bytes;
  const mapped = new Uint8Array(16);
  mapped[10] = 0xff;
  mapped[11] = 0xff;
  mapped.set(bytes, 12);
  return mapped;
}

/** Reverse of mappedBytes; 16 zero bytes give the empty string, which stands for "no address". */
export function fromMappedBytes(bytes: Uint8Array): string {
  let zero = true;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) zero = false;
  if (zero && bytes[10] === 0xff && bytes[11] === 0xff) return bytesToAddress(bytes.subarray(12, 16));
  if (zero && bytes.every((byte) => byte === 0)) return '';
  return bytesToAddress(bytes);
}

/** Prefix length in the 128-bit form. */
export function mappedPrefixLength(family: AddressFamily, bits: number): number {
  return family === 4 ? bits + 96 : bits;
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function formatAddressPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
