// SPDX-License-Identifier: Apache-2.0
import { promisify } from 'node:util';
import { deflateRaw, inflateRawSync } from 'node:zlib';
import { Kvm, type KV, type KvEntry, type KvWatchEntry } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { AppError, errorMessage } from '@cilium-ts/base';

const deflate = promisify(deflateRaw);
/** Texts longer than this are stored compressed. */
const COMPRESS_ABOVE = 4096;
const PLAIN = 0;
const DEFLATED = 1;

/** A value with the bucket's version of it, for compare-and-set. */
export interface BucketEntry {
  readonly key: string;
  /** Undefined: the key was deleted. */
  readonly value: string | undefined;
  readonly version: number;
  /** What is wrong with the stored bytes; the value is undefined then. */
  readonly damage?: string;
}

export interface BucketWatcher {
  /** All keys as they are now. */
  onSnapshot(entries: readonly BucketEntry[]): void;
  /** Later changes, in the order in which they were written. */
  onChange(entry: BucketEntry): void;
}

/** Texts by key, stored by JetStream; one session's view of a bucket. */
export class Bucket {
  readonly #kv: KV;

  private constructor(kv: KV) {
    this.#kv = kv;
  }

  /** Opens a bucket, made where it is missing. `ttlMs` is the life of an entry that nobody writes again. */
  static async open(session: NatsConnection, name: string, ttlMs = 0): Promise<Bucket> {
    const kv = await new Kvm(session).create(name, { history: 1, ...(ttlMs > 0 ? { ttl: ttlMs } : {}) });
    return new Bucket(kv);
  }

  /** Resolves with the version written. */
  async put(key: string, value: string): Promise<number> {
    return this.#kv.put(key, await encode(value));
  }

  /** Writes only where the key still has `version`; 0 = only where it does not exist. @throws AppError `bus-conflict` */
  async compareAndSet(key: string, value: string, version: number): Promise<number> {
    try {
      return await this.#kv.put(key, await encode(value), { previousSeq: version });
    } catch (error) {
      if (String(error).includes('wrong last sequence')) {
        throw new AppError('bus-conflict', `${key}: someone else wrote it`, { key, version }, error);
      }
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    await this.#kv.delete(key);
  }

  async get(key: string): Promise<BucketEntry | undefined> {
    const entry = await this.#kv.get(key);
    if (!entry || entry.operation !== 'PUT') return undefined;
    return entryOf(entry);
  }

  /** Everything in the bucket now. */
  async entries(): Promise<BucketEntry[]> {
    const { promise, resolve } = Promise.withResolvers<BucketEntry[]>();
    const stop = await this.watch({ onSnapshot: (all) => resolve([...all]), onChange: () => undefined });
    const entries = await promise;
    stop();
    return entries;
  }

  /** Follows the bucket until the session ends or the returned function is called. */
  async watch(watcher: BucketWatcher): Promise<() => void> {
    const { values } = await this.#kv.status();
    const iterator = await this.#kv.watch();
    void this.#follow(iterator, values === 0, watcher);
    return () => iterator.stop();
  }

  async #follow(
    iterator: AsyncIterable<KvWatchEntry>,
    empty: boolean,
    watcher: BucketWatcher,
  ): Promise<void> {
    // By key: the server may deliver an entry twice, and a newer version while the snapshot is on its way.
    let snapshot: Map<string, BucketEntry> | undefined = new Map();
    const complete = (): void => {
      const entries = [...(snapshot ?? new Map<string, BucketEntry>()).values()];
      snapshot = undefined;
      watcher.onSnapshot(entries);
    };
    if (empty) complete();
    for await (const raw of iterator) {
      const entry = entryOf(raw);
      if (!snapshot) watcher.onChange(entry);
      else {
        snapshot.set(entry.key, entry);
        if (raw.isUpdate || raw.delta === 0) complete();
      }
    }
  }
}

function entryOf(raw: KvEntry): BucketEntry {
  const { key, revision: version } = raw;
  if (raw.operation !== 'PUT') return { key, value: undefined, version };
  try {
    return { key, value: decode(raw.value), version };
  } catch (error) {
    return { key, value: undefined, version, damage: errorMessage(error) };
  }
}

async function encode(value: string): Promise<Uint8Array> {
  const text = Buffer.from(value, 'utf8');
  if (text.length <= COMPRESS_ABOVE) return Buffer.concat([Buffer.of(PLAIN), text]);
  return Buffer.concat([Buffer.of(DEFLATED), await deflate(text, { level: 1 })]);
}

function decode(bytes: Uint8Array): string {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset + 1, Math.max(0, bytes.length - 1));
  return (bytes[0] === DEFLATED ? inflateRawSync(body) : body).toString('utf8');
}
