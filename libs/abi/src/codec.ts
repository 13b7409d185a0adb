// SPDX-License-Identifier: Apache-2.0
import { readU32, readU64, writeU32, writeU64 } from './bytes.ts';

/** Bytes of one C type to a value and back. `offset` is in bytes; `size` bytes from there must exist. */
export interface Codec<T> {
  readonly name: string;
  readonly size: number;
  /** Writes all `size` bytes, padding as zero. */
  encode(bytes: Uint8Array, offset: number, value: T): void;
  decode(bytes: Uint8Array, offset: number): T;
}

export type MapType =
  | 'hash'
  | 'array'
  | 'percpu_hash'
  | 'percpu_array'
  | 'lru_hash'
  | 'lru_percpu_hash'
  | 'lpm_trie'
  | 'array_of_maps'
  | 'hash_of_maps'
  | 'ringbuf';

interface AnyMapSpec {
  /** The name it is pinned under. */
  readonly name: string;
  readonly type: MapType;
  /** The kernel's number of the type (enum bpf_map_type). */
  readonly typeNumber: number;
  /** As compiled; the loader may override it. Bytes for the ring. */
  readonly maxEntries: number;
  /** BPF_F_* bits of map creation. */
  readonly flags: number;
}

/** A map with typed keys and values. For per-CPU maps the value is that of one CPU. */
export interface MapSpec<K, V> extends AnyMapSpec {
  readonly keyCodec: Codec<K>;
  readonly valueCodec: Codec<V>;
}

/** A map whose values are maps. */
export interface OuterMapSpec<K, InnerK, InnerV> extends AnyMapSpec {
  readonly keyCodec: Codec<K>;
  readonly inner: MapSpec<InnerK, InnerV>;
}

export type RingSpec = AnyMapSpec;

export const U32Codec: Codec<number> = {
  name: 'u32',
  size: 4,
  encode: (bytes, offset, value) => writeU32(bytes, offset, value),
  decode: (bytes, offset) => readU32(bytes, offset),
};

export const U64Codec: Codec<bigint> = {
  name: 'u64',
  size: 8,
  encode: (bytes, offset, value) => writeU64(bytes, offset, value),
  decode: (bytes, offset) => readU64(bytes, offset),
};

/** A fresh buffer with one encoded value. */
export function encodeValue<T>(codec: Codec<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(codec.size);
  codec.encode(bytes, 0, value);
  return bytes;
}
