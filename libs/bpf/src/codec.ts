// SPDX-License-Identifier: Apache-2.0

/** Bytes of one C type to a value and back; generated codecs have this shape. */
export interface Codec<T> {
  readonly size: number;
  /** Writes all `size` bytes, padding as zero. */
  encode(bytes: Uint8Array, offset: number, value: T): void;
  decode(bytes: Uint8Array, offset: number): T;
}

/** What is known of a map before it exists. For per-CPU maps the value is that of one CPU. */
export interface MapSpec<K, V> {
  readonly name: string;
  /** enum bpf_map_type */
  readonly typeNumber: number;
  readonly maxEntries: number;
  /** BPF_F_* of map creation. */
  readonly flags: number;
  readonly keyCodec: Codec<K>;
  readonly valueCodec: Codec<V>;
}

/** A map whose values are maps of one shape. */
export interface OuterMapSpec<K, InnerK, InnerV> {
  readonly name: string;
  readonly typeNumber: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly keyCodec: Codec<K>;
  readonly inner: MapSpec<InnerK, InnerV>;
}

export const MapType = {
  hash: 1,
  array: 2,
  progArray: 3,
  perCpuHash: 5,
  perCpuArray: 6,
  lruHash: 9,
  lruPerCpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  ringbuf: 27,
} as const;

export const MapFlag = { noPrealloc: 1, mmapable: 0x400 } as const;

export const ProgramType = {
  schedCls: 3,
  xdp: 6,
  cgroupSkb: 8,
  cgroupSock: 9,
  sockOps: 13,
  skSkb: 14,
  cgroupSockAddr: 18,
} as const;

/** enum bpf_attach_type of what this project attaches. */
export const AttachType = {
  cgroupInet4Connect: 10,
  cgroupInet6Connect: 11,
  cgroupUdp4Sendmsg: 14,
  cgroupUdp6Sendmsg: 15,
  cgroupUdp4Recvmsg: 19,
  cgroupUdp6Recvmsg: 20,
  cgroupInet4Getpeername: 29,
  cgroupInet6Getpeername: 30,
  xdp: 37,
  tcxIngress: 46,
  tcxEgress: 47,
} as const;

export const u32Codec: Codec<number> = {
  size: 4,
  encode: (bytes, offset, value) =>
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(offset, value, true),
  decode: (bytes, offset) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true),
};

export const u64Codec: Codec<bigint> = {
  size: 8,
  encode: (bytes, offset, value) =>
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(offset, value, true),
  decode: (bytes, offset) => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, true),
};

/** Bytes as they are. */
export function bytesCodec(size: number): Codec<Uint8Array> {
  return {
    size,
    encode: (bytes, offset, value) => bytes.set(value.subarray(0, size), offset),
    decode: (bytes, offset) => bytes.slice(offset, offset + size),
  };
}
