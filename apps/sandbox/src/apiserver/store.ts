// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from './model.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** One change of one object, as watchers see it. */
export interface Change {
  readonly revision: number;
  readonly type: ChangeType;
  readonly object: KubeObject;
  /** What the object was before; null for ADDED. Watchers with selectors need it. */
  readonly previous: KubeObject | null;
  /** Encoded forms, filled by the first watcher that needs each one. */
  readonly encoded: Map<string, Buffer>;
}

export type ChangeListener = (change: Change) => void;

/** The watch position is older than the history that is kept. */
export class TooOld extends Error {}

const HISTORY = 8192;

/** Objects of one resource, all namespaces. */
class Collection {
  readonly objects = new Map<string, KubeObject>();
  readonly listeners = new Set<ChangeListener>();
  /** Oldest first; trimmed to half when it reaches twice HISTORY, so appending stays cheap. */
  history: Change[] = [];
  /** Changes up to this revision are no longer in `history`. */
  forgotten = 0;
}

/** All objects in memory, with one revision counter as etcd has. Values are never copied: callers must not change them. */
export class Store {
  private readonly collections = new Map<string, Collection>();
  private counter = 1;

  /** The newest revision given out. */
  get revision(): number {
    return this.counter;
  }

  private collection(storage: string): Collection {
    let found = this.collections.get(storage);
    if (!found) this.collections.set(storage, (found = new Collection()));
    return found;
  }

  get(storage: string, namespace: string, name: string): KubeObject | undefined {
    return this.collections.get(storage)?.objects.get(`${namespace}/${name}`);
  }

  /** Objects in name order; of one namespace when it is given. */
  list(storage: string, namespace?: string): KubeObject[] {
    const objects = this.collections.get(storage)?.objects;
    if (!objects) return [];
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.map((key) => objects.get(key)!);
  }

  /** Stores `object` under a new revision, which is written into its metadata. */
  put(storage: string, object: KubeObject): KubeObject {
    const collection = this.collection(storage);
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    const previous = collection.objects.get(key) ?? null;
    object.metadata.resourceVersion = String(++this.counter);
    collection.objects.set(key, object);
    this.publish(collection, previous ? 'MODIFIED' : 'ADDED', object, previous);
    return object;
  }

  /** Removes `object`; watchers get it with the revision of its removal. */
  remove(storage: string, object: KubeObject): KubeObject {
    const collection = this.collection(storage);
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    const previous = collection.objects.get(key) ?? object;
    if (!collection.objects.delete(key)) return object;
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.counter) } };
    this.publish(collection, 'DELETED', last, previous);
    return last;
  }

  private publish(
    collection: Collection,
    type: ChangeType,
    object: KubeObject,
    previous: KubeObject | null,
  ): void {
    const change: Change = { revision: this.counter, type, object, previous, encoded: new Map() };
    collection.history.push(change);
    if (collection.history.length >= 2 * HISTORY) {
      collection.forgotten = collection.history[HISTORY - 1]!.revision;
      collection.history = collection.history.slice(HISTORY);
    }
    for (const listener of collection.listeners) listener(change);
  }

  /**
   * Replays what happened after `revision`, then follows. Returns the function that stops it.
   * Throws TooOld when part of that history is gone.
   */
  watch(storage: string, revision: number, listener: ChangeListener): () => void {
    const collection = this.collection(storage);
    if (revision < collection.forgotten)
      throw new TooOld(`too old resource version: ${revision} (${collection.forgotten})`);
    const history = collection.history;
    let start = history.length;
    while (start > 0 && history[start - 1]!.revision > revision) start--;
    for (const change of history.slice(start)) listener(change);
    collection.listeners.add(listener);
    return () => void collection.listeners.delete(listener);
  }

  /** Forgets a resource and ends nothing: watchers get the removals first. */
  drop(storage: string): void {
    for (const object of this.list(storage)) this.remove(storage, object);
  }

  count(storage: string): number {
    return this.collections.get(storage)?.objects.size ?? 0;
  }
}
