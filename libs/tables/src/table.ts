// SPDX-License-Identifier: Apache-2.0

/** What changed under one key: `after` is undefined for a deletion. */
export interface TableChange<V> {
  readonly key: string;
  readonly before: V | undefined;
  readonly after: V | undefined;
}

export type TableListener<V> = (changes: readonly TableChange<V>[]) => void;

/** The side that others may hold: look up, list, follow. */
export interface TableReader<V> {
  readonly name: string;
  /** Raised by every transaction that changed something. */
  readonly revision: number;
  /** True once the writer has delivered its first complete state. */
  readonly synced: boolean;
  readonly size: number;
  get(key: string): V | undefined;
  values(): IterableIterator<V>;
  entries(): IterableIterator<[string, V]>;
  /** Keys of rows whose index gives `value`. @throws Error for an unknown index */
  find(index: string, value: string): V[];
  /** Called after each transaction with its changes; returns the way to stop. */
  watch(listener: TableListener<V>): () => void;
  /** Resolves when synced. */
  whenSynced(): Promise<void>;
}

export interface TableOptions<V> {
  readonly name: string;
  /** Secondary indexes: values under which a row is found. */
  readonly indexes?: Readonly<Record<string, (row: V) => readonly string[]>>;
  /** Rows that are equal make no change. Default: identity of the objects. */
  readonly equal?: (a: V, b: V) => boolean;
}

/**
 * A table of immutable rows: one writer, many readers. Changes are grouped in transactions, listeners hear of a
 * transaction once, after it, in one call; a listener that throws does not keep the others from hearing it.
 */
export class Table<V> implements TableReader<V> {
  readonly name: string;
  readonly #rows = new Map<string, V>();
  readonly #indexes = new Map<
    string,
    { of: (row: V) => readonly string[]; keys: Map<string, Set<string>> }
  >();
  readonly #equal: (a: V, b: V) => boolean;
  readonly #listeners = new Set<TableListener<V>>();
  readonly #waiters: (() => void)[] = [];
  #revision = 0;
  #synced = false;
  #open: TableChange<V>[] | undefined;

  constructor(options: TableOptions<V>) {
    this.name = options.name;
    this.#equal = options.equal ?? ((a, b) => a === b);
    for (const [name, of] of Object.entries(options.indexes ?? {}))
      this.#indexes.set(name, { of, keys: new Map() });
  }

  get revision(): number {
    return this.#revision;
  }

  get synced(): boolean {
    return this.#synced;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): V | undefined {
    return this.#rows.get(key);
  }

  values(): IterableIterator<V> {
    return this.#rows.values();
  }

  entries(): IterableIterator<[string, V]> {
    return this.#rows.entries();
  }

  find(index: string, value: string): V[] {
    const found = this.#indexes.get(index);
    if (!found) throw new Error(`table ${this.name} has no index ${index}`);
    return [...(found.keys.get(value) ?? [])].map((key) => this.#rows.get(key)!);
  }

  watch(listener: TableListener<V>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  whenSynced(): Promise<void> {
    if (this.#synced) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Several changes heard as one. Nested calls join the outer one. */
  transaction<R>(change: () => R): R {
    if (this.#open) return change();
    this.#open = [];
    try {
      return change();
    } finally {
      const changes = this.#open;
      this.#open = undefined;
      this.#tell(changes);
    }
  }

  upsert(key: string, row: V): boolean {
    const before = this.#rows.get(key);
    if (before !== undefined && this.#equal(before, row)) return false;
    if (before !== undefined) this.#unindex(key, before);
    this.#rows.set(key, row);
    this.#index(key, row);
    this.#record({ key, before, after: row });
    return true;
  }

  delete(key: string): boolean {
    const before = this.#rows.get(key);
    if (before === undefined) return false;
    this.#unindex(key, before);
    this.#rows.delete(key);
    this.#record({ key, before, after: undefined });
    return true;
  }

  /** Makes the rows exactly these, in one transaction. */
  replace(rows: Iterable<readonly [string, V]>): void {
    this.transaction(() => {
      const wanted = new Map(rows);
      for (const key of [...this.#rows.keys()]) if (!wanted.has(key)) this.delete(key);
      for (const [key, row] of wanted) this.upsert(key, row);
    });
  }

  /** Declares the state complete: readers may now remove what is not in it. */
  markSynced(): void {
    if (this.#synced) return;
    this.#synced = true;
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  #record(change: TableChange<V>): void {
    if (this.#open) this.#open.push(change);
    else this.#tell([change]);
  }

  #tell(changes: readonly TableChange<V>[]): void {
    if (changes.length === 0) return;
    this.#revision++;
    const errors: unknown[] = [];
    for (const listener of [...this.#listeners]) {
      try {
        listener(changes);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `listeners of table ${this.name} failed`);
  }

  #index(key: string, row: V): void {
    for (const index of this.#indexes.values()) {
      for (const value of index.of(row)) {
        const keys = index.keys.get(value);
        if (keys) keys.add(key);
        else index.keys.set(value, new Set([key]));
      }
    }
  }

  #unindex(key: string, row: V): void {
    for (const index of this.#indexes.values()) {
      for (const value of index.of(row)) {
        const keys = index.keys.get(value);
        keys?.delete(key);
        if (keys?.size === 0) index.keys.delete(value);
      }
    }
  }
}
