// SPDX-License-Identifier: Apache-2.0
import type { Fd, MapInfo, Native } from '@cilium-ts/native';
import { u32Codec, type OuterMapSpec } from './codec.ts';
import { BpfMap, checkSizes, encodeAll } from './map.ts';

/**
 * A map of maps. Every change of it waits for readers to leave (milliseconds, however many elements), so changes are
 * asynchronous and come as batches; when the promise resolves, programs see the new value.
 */
export class OuterMap<K, InnerK, InnerV> {
  readonly spec: OuterMapSpec<K, InnerK, InnerV>;
  readonly fd: Fd;
  readonly info: MapInfo;
  readonly #native: Native;

  /** Takes over the descriptor. */
  constructor(native: Native, fd: Fd, spec: OuterMapSpec<K, InnerK, InnerV>) {
    this.spec = spec;
    this.fd = fd;
    this.#native = native;
    this.info = native.mapInfo({ fd });
    checkSizes(this.info, spec, spec.keyCodec.size, 4);
  }

  static openPinned<K, IK, IV>(
    native: Native,
    path: string,
    spec: OuterMapSpec<K, IK, IV>,
  ): OuterMap<K, IK, IV> {
    return new OuterMap(native, native.bpfGet({ path }), spec);
  }

  static create<K, IK, IV>(native: Native, spec: OuterMapSpec<K, IK, IV>): OuterMap<K, IK, IV> {
    const prototype = BpfMap.create(native, spec.inner, { maxEntries: 1 });
    try {
      const fd = native.mapCreate({
        type: spec.typeNumber,
        name: spec.name,
        keySize: spec.keyCodec.size,
        valueSize: 4,
        maxEntries: spec.maxEntries,
        flags: spec.flags,
        innerFd: prototype.fd,
      });
      return new OuterMap(native, fd, spec);
    } finally {
      prototype.close();
    }
  }

  /** A new inner map holding these entries and room for `spare` more. The caller puts it in and closes it. */
  async createInner(
    entries: readonly (readonly [InnerK, InnerV])[],
    spare = 0,
  ): Promise<BpfMap<InnerK, InnerV>> {
    const inner = BpfMap.create(this.#native, this.spec.inner, {
      maxEntries: Math.max(1, entries.length + spare),
    });
    try {
      await inner.setMany(entries);
      return inner;
    } catch (error) {
      inner.close();
      throw error;
    }
  }

  /** Adds or replaces; the outer map holds a reference of its own, so the inner maps may be closed afterwards. */
  async put(entries: readonly (readonly [K, BpfMap<InnerK, InnerV>])[]): Promise<void> {
    if (entries.length === 0) return;
    await this.#native.mapUpdateBatchAsync({
      fd: this.fd,
      keys: encodeAll(
        this.spec.keyCodec,
        entries.map((entry) => entry[0]),
      ),
      values: encodeAll(
        u32Codec,
        entries.map((entry) => entry[1].fd),
      ),
      count: entries.length,
    });
  }

  /** How many were there. */
  async deleteMany(keys: readonly K[]): Promise<number> {
    if (keys.length === 0) return 0;
    const options = { fd: this.fd, keys: encodeAll(this.spec.keyCodec, keys), count: keys.length };
    return this.#native.mapDeleteBatchAsync(options);
  }

  /** Keys and the kernel's ids of their inner maps. */
  async entries(): Promise<[K, number][]> {
    const all: [K, number][] = [];
    let cursor: Uint8Array | undefined;
    do {
      const page = await this.#native.mapLookupBatchAsync({
        fd: this.fd,
        count: 1024,
        ...(cursor === undefined ? {} : { cursor }),
      });
      for (let i = 0; i < page.count; i++) {
        const key = this.spec.keyCodec.decode(page.keys, i * this.spec.keyCodec.size);
        all.push([key, u32Codec.decode(page.values, i * 4)]);
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    return all;
  }

  /** The inner map of a key, opened anew by its id; the caller closes it. */
  openInner(key: K): BpfMap<InnerK, InnerV> | undefined {
    const id = new Uint8Array(4);
    if (!this.#native.mapLookup(this.fd, encodeAll(this.spec.keyCodec, [key]), id)) return undefined;
    return new BpfMap(this.#native, this.#native.mapOpenId({ id: u32Codec.decode(id, 0) }), this.spec.inner);
  }

  close(): void {
    this.#native.fdClose({ fd: this.fd });
  }
}
