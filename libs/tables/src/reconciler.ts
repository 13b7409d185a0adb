// SPDX-License-Identifier: Apache-2.0
import { errorMessage, silentLogger, type Logger } from '@cilium-ts/base';

/** The outside world of one kind of row, with three verbs. Rows are grouped, since the kernel takes batches. */
export interface ReconcileTarget<V> {
  /** Writes rows; throws where it could not (all are tried again), or returns the errors of single rows. */
  update(rows: readonly (readonly [string, V])[]): Promise<ReadonlyMap<string, unknown> | void>;
  /** Removes rows, given as last written; a row that is already gone is no error. */
  delete(rows: readonly (readonly [string, V])[]): Promise<ReadonlyMap<string, unknown> | void>;
  /** Removes everything that is not among the wanted rows: cleans up after a crash. Called once, when `prune` is. */
  prune?(wanted: ReadonlyMap<string, V>): Promise<void>;
  /** Called after each round that wrote something. */
  settled?(): Promise<void> | void;
}

export interface ReconcilerOptions<V> {
  readonly name: string;
  readonly target: ReconcileTarget<V>;
  readonly equal: (a: V, b: V) => boolean;
  readonly logger?: Logger;
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  readonly batchMax?: number;
}

export interface ReconcilerStatus {
  readonly name: string;
  readonly wanted: number;
  readonly written: number;
  readonly pending: number;
  readonly consecutiveFailures: number;
  readonly lastError: string | undefined;
}

/**
 * Carries wanted rows to a target: one round at a time, changes that arrive meanwhile are folded into the next one,
 * failures are tried again with back-off. The target never sees two calls at once.
 */
export class Reconciler<V> {
  readonly #options: ReconcilerOptions<V>;
  readonly #logger: Logger;
  readonly #wanted = new Map<string, V>();
  readonly #written = new Map<string, V>();
  readonly #dirty = new Set<string>();
  /** Failed; tried again when the timer fires. Others do not wait for them. */
  readonly #deferred = new Set<string>();
  readonly #idle: (() => void)[] = [];
  #pruneWanted = false;
  #running = false;
  #stopped = false;
  #failures = 0;
  #lastError: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReconcilerOptions<V>) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
  }

  set(key: string, row: V): void {
    const before = this.#wanted.get(key);
    this.#wanted.set(key, row);
    if (before !== undefined && this.#options.equal(before, row)) return;
    this.#dirty.add(key);
    this.#kick();
  }

  unset(key: string): void {
    if (!this.#wanted.delete(key)) return;
    this.#dirty.add(key);
    this.#kick();
  }

  /** Tells what is in the world already (restored), so that only differences are written. */
  adopt(key: string, row: V): void {
    this.#written.set(key, row);
    if (!this.#wanted.has(key)) this.#dirty.add(key);
  }

  /** After the wanted state is complete: remove what nobody wants. */
  prune(): void {
    this.#pruneWanted = true;
    this.#kick();
  }

  get(key: string): V | undefined {
    return this.#written.get(key);
  }

  status(): ReconcilerStatus {
    return {
      name: this.#options.name,
      wanted: this.#wanted.size,
      written: this.#written.size,
      pending: this.#dirty.size + this.#deferred.size,
      consecutiveFailures: this.#failures,
      lastError: this.#lastError,
    };
  }

  /** Resolves when everything set so far has been written (or the reconciler was stopped). */
  whenIdle(): Promise<void> {
    if (!this.#busy()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#wake();
  }

  #busy(): boolean {
    return (
      !this.#stopped &&
      (this.#running || this.#dirty.size > 0 || this.#deferred.size > 0 || this.#pruneWanted)
    );
  }

  #wake(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #kick(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    // A microtask later, so that one transaction of a table is one round.
    queueMicrotask(() => void this.#rounds());
  }

  async #rounds(): Promise<void> {
    while (!this.#stopped && (this.#dirty.size > 0 || (this.#pruneWanted && this.#timer === undefined))) {
      await this.#round();
    }
    this.#running = false;
    if (!this.#busy()) this.#wake();
  }

  #failed(keys: Iterable<string>, error: unknown): void {
    for (const key of keys) this.#deferred.add(key);
    this.#lastError = errorMessage(error);
    if (this.#timer || this.#stopped) return;
    this.#failures++;
    const { retryMinMs = 100, retryMaxMs = 30_000, name } = this.#options;
    const waitMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#failures - 1, 16));
    this.#logger.warn(
      { reconciler: name, error: this.#lastError, waitMs },
      'reconciling failed, trying again',
    );
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      for (const key of this.#deferred) this.#dirty.add(key);
      this.#deferred.clear();
      this.#kick();
    }, waitMs);
  }

  /** Takes all dirty rows; what fails is deferred. */
  async #round(): Promise<void> {
    const { target } = this.#options;
    const { updates, deletes } = this.#take();
    const prune = this.#pruneWanted && this.#timer === undefined;
    let failed = await this.#write(
      updates,
      (batch) => target.update(batch),
      (key, row) => this.#written.set(key, row),
    );
    failed =
      (await this.#write(
        deletes,
        (batch) => target.delete(batch),
        (key) => this.#written.delete(key),
      )) || failed;
    try {
      if (prune) await target.prune?.(this.#wanted);
      if (prune) this.#pruneWanted = false;
      if (prune || updates.length + deletes.length > 0) await target.settled?.();
    } catch (error) {
      failed = true;
      this.#failed([], error);
    }
    if (failed || this.#deferred.size > 0) return;
    this.#failures = 0;
    this.#lastError = undefined;
  }

  #take(): { updates: [string, V][]; deletes: [string, V][] } {
    const updates: [string, V][] = [];
    const deletes: [string, V][] = [];
    for (const key of this.#dirty) {
      this.#deferred.delete(key);
      const row = this.#wanted.get(key);
      const before = this.#written.get(key);
      if (row === undefined) {
        if (before !== undefined) deletes.push([key, before]);
      } else if (before === undefined || !this.#options.equal(before, row)) updates.push([key, row]);
    }
    this.#dirty.clear();
    return { updates, deletes };
  }

  /** Whether anything failed. */
  async #write(
    rows: readonly [string, V][],
    verb: (batch: readonly [string, V][]) => Promise<ReadonlyMap<string, unknown> | void>,
    done: (key: string, row: V) => void,
  ): Promise<boolean> {
    const { batchMax = 2048 } = this.#options;
    let failed = false;
    for (let i = 0; i < rows.length; i += batchMax) {
      const batch = rows.slice(i, i + batchMax);
      try {
        const errors = await verb(batch);
        for (const [key, row] of batch) if (!errors?.has(key)) done(key, row);
        const first = errors?.entries().next().value;
        if (!errors || !first) continue;
        failed = true;
        this.#failed(errors.keys(), first[1]);
      } catch (error) {
        failed = true;
        this.#failed(
          batch.map(([key]) => key),
          error,
        );
      }
    }
    return failed;
  }
}
