// SPDX-License-Identifier: Apache-2.0
// Plain byte arithmetic rather than DataView: no object per record, and V8 inlines it.
import { formatMac, fromMappedBytes, mappedBytes, parseMac } from '@cilium-ts/net';

export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function readBe16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function readU64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(readU32(bytes, at + 4)) << 32n) | BigInt(readU32(bytes, at));
}

/** Canonical text of 16 bytes; '' for all zero. */
export function readAddress(bytes: Uint8Array, at: number): string {
  return fromMappedBytes(bytes.subarray(at, at + 16));
}

export function readMac(bytes: Uint8Array, at: number): string {
  return formatMac(bytes.subarray(at, at + 6));
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function writeBe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function writeU64(bytes: Uint8Array, at: number, value: bigint): void {
  writeU32(bytes, at, Number(value & 0xffffffffn));
  writeU32(bytes, at + 4, Number((value >> 32n) & 0xffffffffn));
}

/** '' writes zeros. @throws AppError `bad-address` */
export function writeAddress(bytes: Uint8Array, at: number, text: string): void {
  if (text === '') bytes.fill(0, at, at + 16);
  else bytes.set(mappedBytes(text), at);
}

/** '' writes zeros. @throws AppError `bad-mac` */
export function writeMac(bytes: Uint8Array, at: number, text: string): void {
  if (text === '') bytes.fill(0, at, at + 6);
  else bytes.set(parseMac(text), at);
}
