// SPDX-License-Identifier: Apache-2.0
import { errorMessage, silentLogger, type Logger, type Stoppable } from '@cilium-ts/base';
import { Backoff } from './backoff.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import type { ResourceRef } from './resources.ts';
import { keyOf, Store, type IndexFunction, type ReadonlyStore } from './store.ts';
import { readWatch, type WatchEvent } from './watch-stream.ts';
import type { KubeObject } from './wire.ts';

export interface ReflectorHandler<T> {
  onAdd?(object: T): void;
  onUpdate?(old: T, object: T): void;
  /** The last state seen. */
  onDelete?(object: T): void;
  /** Once: all objects that existed at the start were added. */
  onSynced?(): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly resource: ResourceRef<T>;
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly log?: Logger | undefined;
  /** Keeps only what is needed of each object; undefined leaves the object out. `metadata` must survive. */
  readonly transform?: ((object: T) => T | undefined) | undefined;
  readonly indexers?: Readonly<Record<string, IndexFunction<T>>> | undefined;
  /** Objects per list page; default 500. */
  readonly pageSize?: number | undefined;
  /** Milliseconds without any event or bookmark after which the watch is opened anew; default 150,000. */
  readonly inactivityMs?: number | undefined;
  /** Milliseconds; default 50 to 10,000. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number } | undefined;
}

const DEFAULT_BACKOFF = { baseMs: 50, maxMs: 10_000 };
/** A kind that does not exist yet (its CRD comes later) is asked for at least this often. */
const MISSING_KIND_MS = 1000;

/**
 * Mirrors one collection of the API server: lists, then watches from the list's version, for ever. A lost connection
 * resumes at the last version seen; where that is gone everything is listed again and the differences are handed on,
 * deletions included. Handlers run in order and must not throw; what they throw is logged.
 */
export class Reflector<T extends KubeObject> implements Stoppable {
  readonly #options: ReflectorOptions<T>;
  readonly #log: Logger;
  readonly #store: Store<T>;
  readonly #handlers = new Set<ReflectorHandler<T>>();
  readonly #abort = new AbortController();
  readonly #backoff: Backoff;
  readonly #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #version: string | undefined;
  #running: Promise<void> | undefined;
  #lastError: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#store = new Store(options.indexers);
    this.#backoff = new Backoff(options.backoff ?? DEFAULT_BACKOFF);
  }

  get store(): ReadonlyStore<T> {
    return this.#store;
  }

  get hasSynced(): boolean {
    return this.#isSynced;
  }

  /** Resolves after the first complete list; never rejects (and never resolves where stopped before). */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** The trouble of the moment, undefined while the watch is well. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Adds a handler; it gets what is in the store already. Returns the function that removes it. */
  subscribe(handler: ReflectorHandler<T>): () => void {
    this.#handlers.add(handler);
    for (const object of this.#store.list()) this.#guard(() => handler.onAdd?.(object));
    if (this.#isSynced) this.#guard(() => handler.onSynced?.());
    return () => this.#handlers.delete(handler);
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      try {
        if (this.#version === undefined) await this.#list();
        await this.#watch();
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        await this.#recover(error);
      }
    }
  }

  /** Decides whether to list again, and waits. */
  async #recover(error: unknown): Promise<void> {
    const code = error instanceof KubeError ? error.code : 0;
    const fromServer = code >= 400 && code !== 401 && code !== 403 && code !== 429;
    if (fromServer) this.#version = undefined;
    this.#lastError = errorMessage(error);
    let wait = this.#backoff.next();
    if (code === 404) wait = Math.min(wait, MISSING_KIND_MS);
    if (code === 410 && this.#backoff.failures === 1) wait = 0;
    const fields = {
      resource: this.#options.resource.plural,
      error: this.#lastError,
      waitMs: Math.round(wait),
    };
    if (this.#backoff.failures === 3) this.#log.warn(fields, 'watch keeps failing, trying on');
    else this.#log.debug(fields, 'watch interrupted');
    await this.#sleep(wait);
  }

  #sleep(ms: number): Promise<void> {
    const signal = this.#abort.signal;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
    });
  }

  async #list(): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector, pageSize = 500 } = this.#options;
    const seen = new Set<string>();
    let version: string | undefined;
    let next: string | undefined;
    do {
      const page = await client.list(resource, {
        namespace,
        labelSelector,
        fieldSelector,
        limit: pageSize,
        continue: next,
        signal: this.#abort.signal,
      });
      version = page.metadata.resourceVersion;
      next = page.metadata.continue || undefined;
      for (const object of page.items) {
        seen.add(keyOf(object));
        this.#put(object);
      }
    } while (next !== undefined);
    for (const key of [...this.#store.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#version = version ?? '0';
    this.#lastError = undefined;
    if (this.#isSynced) return;
    this.#isSynced = true;
    for (const handler of this.#handlers) this.#guard(() => handler.onSynced?.());
    this.#synced.resolve();
  }

  async #watch(): Promise<void> {
    const {
      client,
      resource,
      namespace,
      labelSelector,
      fieldSelector,
      inactivityMs = 150_000,
    } = this.#options;
    const response = await client.watch(resource, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: this.#version,
      // The server ends watches itself, at different times for different watchers.
      timeoutSeconds: 300 + Math.floor(Math.random() * 300),
      signal: this.#abort.signal,
      timeoutMs: inactivityMs,
    });
    const opened = performance.now();
    this.#lastError = undefined;
    let events = 0;
    await readWatch<T>(response, inactivityMs, (event) => {
      if (events++ === 0) this.#backoff.reset();
      this.#apply(event);
    });
    // A server that accepts and ends at once must not be asked in a tight loop.
    if (events === 0 && performance.now() - opened < 1000) {
      throw KubeError.unreachable('watch', new Error('ended at once'));
    }
    this.#backoff.reset();
  }

  #apply(event: WatchEvent<T>): void {
    const version = event.object.metadata.resourceVersion;
    if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#put(event.object);
    else if (event.type === 'DELETED') this.#remove(keyOf(event.object), event.object);
    if (version) this.#version = version;
  }

  #put(received: T): void {
    const key = keyOf(received);
    const old = this.#store.get(key);
    const { resourceVersion, uid } = received.metadata;
    if (
      old &&
      old.metadata.uid === uid &&
      old.metadata.resourceVersion === resourceVersion &&
      resourceVersion
    ) {
      return;
    }
    const object = this.#options.transform ? this.#transform(received) : received;
    if (object === undefined) {
      this.#remove(key);
      return;
    }
    // Deleted and created again between two looks: two events, so that nobody keeps the old one's state.
    if (old && old.metadata.uid !== uid) this.#remove(key);
    const known = this.#store.get(key);
    this.#store.set(key, object);
    for (const handler of this.#handlers) {
      this.#guard(() => (known ? handler.onUpdate?.(known, object) : handler.onAdd?.(object)));
    }
  }

  #transform(object: T): T | undefined {
    try {
      return this.#options.transform!(object);
    } catch (error) {
      this.#log.error(
        { key: keyOf(object), error: errorMessage(error) },
        'transform failed, object left out',
      );
      return undefined;
    }
  }

  #remove(key: string, last?: T): void {
    const old = this.#store.get(key);
    if (!old) return;
    this.#store.delete(key);
    const final = last && !this.#options.transform ? last : old;
    for (const handler of this.#handlers) this.#guard(() => handler.onDelete?.(final));
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      const fields = { resource: this.#options.resource.plural, error: errorMessage(error) };
      this.#log.error(fields, 'a handler of watch events failed');
    }
  }
}
