// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import type { Fd, MapInfo, Native } from '@cilium-ts/native';
import { MapType, type Codec, type MapSpec } from './codec.ts';

/** How an update treats an element that is (not) there. */
export const UpdateMode = { any: 0, create: 1, replace: 2 } as const;
export type UpdateMode = (typeof UpdateMode)[keyof typeof UpdateMode];

const PER_CPU = new Set<number>([MapType.perCpuHash, MapType.perCpuArray, MapType.lruPerCpuHash]);
const PAGE = 4096;

/** One buffer for all keys or values of a batch. */
export function encodeAll<T>(codec: Codec<T>, values: readonly T[]): Uint8Array {
  const bytes = new Uint8Array(codec.size * values.length);
  values.forEach((value, i) => codec.encode(bytes, i * codec.size, value));
  return bytes;
}

/** @throws AppError `map-mismatch` naming both sides */
export function checkSizes(
  info: MapInfo,
  spec: Pick<MapSpec<unknown, unknown>, 'name'>,
  key: number,
  value: number,
): void {
  if (info.keySize === key && info.valueSize === value) return;
  throw new AppError(
    'map-mismatch',
    `map ${spec.name}: the kernel has keys of ${info.keySize} and values of ${info.valueSize} bytes, ` +
      `the codecs ${key} and ${value}`,
  );
}

export interface CreateMapOptions {
  readonly maxEntries?: number;
  readonly name?: string;
}

/**
 * A map of the kernel with typed keys and values. Single calls take about a microsecond and run at once; what may be
 * long (batches, dumps) is asynchronous and runs on a worker thread. All throw SystemError.
 */
export class BpfMap<K, V> {
  readonly spec: MapSpec<K, V>;
  readonly fd: Fd;
  readonly info: MapInfo;
  readonly #native: Native;
  readonly #key: Uint8Array;
  readonly #value: Uint8Array;

  /** Takes over the descriptor. */
  constructor(native: Native, fd: Fd, spec: MapSpec<K, V>) {
    this.spec = spec;
    this.fd = fd;
    this.#native = native;
    this.info = native.mapInfo({ fd });
    checkSizes(this.info, spec, spec.keyCodec.size, spec.valueCodec.size);
    if (PER_CPU.has(this.info.type)) {
      throw new AppError('map-mismatch', `map ${spec.name} is per CPU: use PerCpuMap`);
    }
    this.#key = new Uint8Array(spec.keyCodec.size);
    this.#value = new Uint8Array(spec.valueCodec.size);
  }

  static create<K, V>(native: Native, spec: MapSpec<K, V>, options: CreateMapOptions = {}): BpfMap<K, V> {
    const fd = native.mapCreate({
      type: spec.typeNumber,
      name: options.name ?? spec.name,
      keySize: spec.keyCodec.size,
      valueSize: spec.valueCodec.size,
      maxEntries: options.maxEntries ?? spec.maxEntries,
      flags: spec.flags,
    });
    return new BpfMap(native, fd, spec);
  }

  static openPinned<K, V>(native: Native, path: string, spec: MapSpec<K, V>): BpfMap<K, V> {
    return new BpfMap(native, native.bpfGet({ path }), spec);
  }

  get(key: K): V | undefined {
    this.spec.keyCodec.encode(this.#key, 0, key);
    if (!this.#native.mapLookup(this.fd, this.#key, this.#value)) return undefined;
    return this.spec.valueCodec.decode(this.#value, 0);
  }

  set(key: K, value: V, mode: UpdateMode = UpdateMode.any): void {
    this.spec.keyCodec.encode(this.#key, 0, key);
    this.spec.valueCodec.encode(this.#value, 0, value);
    this.#native.mapUpdate(this.fd, this.#key, this.#value, mode);
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    this.spec.keyCodec.encode(this.#key, 0, key);
    return this.#native.mapDelete(this.fd, this.#key);
  }

  /** Writes all elements; on error those before the one named in the message are written. */
  async setMany(entries: readonly (readonly [K, V])[], mode: UpdateMode = UpdateMode.any): Promise<void> {
    if (entries.length === 0) return;
    await this.#native.mapUpdateBatchAsync({
      fd: this.fd,
      keys: encodeAll(
        this.spec.keyCodec,
        entries.map((entry) => entry[0]),
      ),
      values: encodeAll(
        this.spec.valueCodec,
        entries.map((entry) => entry[1]),
      ),
      count: entries.length,
      flags: mode,
    });
  }

  /** How many were there. */
  async deleteMany(keys: readonly K[]): Promise<number> {
    if (keys.length === 0) return 0;
    return this.#native.mapDeleteBatchAsync({
      fd: this.fd,
      keys: encodeAll(this.spec.keyCodec, keys),
      count: keys.length,
    });
  }

  /** All elements in pages of some thousands; not a snapshot: a map that changes meanwhile may show either state. */
  async *pages(size = PAGE): AsyncGenerator<[K, V][]> {
    const { keyCodec, valueCodec } = this.spec;
    let cursor: Uint8Array | undefined;
    do {
      const page = await this.#native.mapLookupBatchAsync({
        fd: this.fd,
        count: size,
        ...(cursor === undefined ? {} : { cursor }),
      });
      const entries: [K, V][] = [];
      for (let i = 0; i < page.count; i++) {
        const key = keyCodec.decode(page.keys, i * keyCodec.size);
        entries.push([key, valueCodec.decode(page.values, i * valueCodec.size)]);
      }
      yield entries;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  async entries(): Promise<[K, V][]> {
    const all: [K, V][] = [];
    for await (const page of this.pages()) for (const entry of page) all.push(entry);
    return all;
  }

  /** The memory of a mmapable array: writes are seen by programs at once (use Atomics for words). */
  mmap(): ArrayBuffer {
    const stride = (this.spec.valueCodec.size + 7) & ~7;
    return this.#native.mapMmap({ fd: this.fd, length: stride * this.info.maxEntries });
  }

  pin(path: string): void {
    this.#native.bpfPin({ fd: this.fd, path });
  }

  close(): void {
    this.#native.fdClose({ fd: this.fd });
  }
}

/** A map with one value per CPU. */
export class PerCpuMap<K, V> {
  readonly spec: MapSpec<K, V>;
  readonly fd: Fd;
  readonly info: MapInfo;
  readonly cpus: number;
  readonly #native: Native;
  readonly #stride: number;

  /** Takes over the descriptor. */
  constructor(native: Native, fd: Fd, spec: MapSpec<K, V>) {
    this.spec = spec;
    this.fd = fd;
    this.#native = native;
    this.info = native.mapInfo({ fd });
    checkSizes(this.info, spec, spec.keyCodec.size, spec.valueCodec.size);
    this.cpus = native.possibleCpus();
    this.#stride = (spec.valueCodec.size + 7) & ~7;
  }

  static openPinned<K, V>(native: Native, path: string, spec: MapSpec<K, V>): PerCpuMap<K, V> {
    return new PerCpuMap(native, native.bpfGet({ path }), spec);
  }

  #decode(bytes: Uint8Array, offset: number): V[] {
    return Array.from({ length: this.cpus }, (_, cpu) =>
      this.spec.valueCodec.decode(bytes, offset + cpu * this.#stride),
    );
  }

  /** The values of all possible CPUs. */
  get(key: K): V[] | undefined {
    const bytes = new Uint8Array(this.info.storedSize);
    return this.#native.mapLookup(this.fd, encodeAll(this.spec.keyCodec, [key]), bytes)
      ? this.#decode(bytes, 0)
      : undefined;
  }

  /** Sets the same value on all CPUs. */
  set(key: K, value: V): void {
    const bytes = new Uint8Array(this.info.storedSize);
    for (let cpu = 0; cpu < this.cpus; cpu++) this.spec.valueCodec.encode(bytes, cpu * this.#stride, value);
    this.#native.mapUpdate(this.fd, encodeAll(this.spec.keyCodec, [key]), bytes, UpdateMode.any);
  }

  delete(key: K): boolean {
    return this.#native.mapDelete(this.fd, encodeAll(this.spec.keyCodec, [key]));
  }

  async entries(): Promise<[K, V[]][]> {
    const all: [K, V[]][] = [];
    let cursor: Uint8Array | undefined;
    do {
      const page = await this.#native.mapLookupBatchAsync({
        fd: this.fd,
        count: PAGE,
        ...(cursor === undefined ? {} : { cursor }),
      });
      for (let i = 0; i < page.count; i++) {
        const key = this.spec.keyCodec.decode(page.keys, i * this.spec.keyCodec.size);
        all.push([key, this.#decode(page.values, i * this.info.storedSize)]);
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    return all;
  }

  /** Elements with the values of all CPUs folded into one. */
  async totals(add: (sum: V, value: V) => V): Promise<[K, V][]> {
    return (await this.entries()).map(([key, values]) => [key, values.reduce(add)]);
  }

  close(): void {
    this.#native.fdClose({ fd: this.fd });
  }
}
