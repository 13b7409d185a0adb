// SPDX-License-Identifier: Apache-2.0
import { errorMessage, silentLogger, type Logger, type Stoppable } from '@cilium-ts/base';
import { backoffDelay, type BackoffOptions } from './backoff.ts';

export interface WorkQueueOptions<K> {
  readonly name: string;
  /** Brings one key in order. A rejection repeats it after a back-off; a number repeats it after so many milliseconds. */
  readonly process: (key: K) => Promise<number | void>;
  /** Keys worked on at the same time; default 1. */
  readonly concurrency?: number | undefined;
  readonly backoff?: BackoffOptions | undefined;
  readonly log?: Logger | undefined;
  /** True where the error is part of normal life (a conflict) and not worth a warning. */
  readonly isExpected?: ((error: unknown) => boolean) | undefined;
}

const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 10, maxMs: 30_000 };

/** Keys to be worked on: each at most once at a time, again when it was added meanwhile. */
export class WorkQueue<K> implements Stoppable {
  readonly #options: WorkQueueOptions<K>;
  readonly #log: Logger;
  readonly #waiting = new Set<K>();
  readonly #active = new Set<K>();
  /** Added while active. */
  readonly #again = new Set<K>();
  readonly #failures = new Map<K, number>();
  readonly #timers = new Map<K, { timer: NodeJS.Timeout; due: number }>();
  #idle: (() => void)[] = [];
  #stopped = false;
  #scheduled = false;

  constructor(options: WorkQueueOptions<K>) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  /** Keys waiting or being worked on. */
  get length(): number {
    return this.#waiting.size + this.#active.size;
  }

  add(key: K): void {
    if (this.#stopped) return;
    if (this.#active.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#waiting.add(key);
    this.#schedule();
  }

  /** Adds the key in `ms` milliseconds; the earliest of several wins. */
  addAfter(key: K, ms: number): void {
    if (this.#stopped) return;
    const due = performance.now() + ms;
    const old = this.#timers.get(key);
    if (old && old.due <= due) return;
    if (old) clearTimeout(old.timer);
    const fire = (): void => {
      this.#timers.delete(key);
      this.add(key);
    };
    this.#timers.set(key, { timer: setTimeout(fire, Math.min(ms, 0x7fffffff)), due });
  }

  /** Resolves when nothing is waiting or active (delayed keys do not count). */
  idle(): Promise<void> {
    if (this.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Takes no more keys and waits for those being worked on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    this.#again.clear();
    await this.idle();
  }

  // Work starts in a later turn, so that a burst of events about one key is one run.
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const limit = this.#options.concurrency ?? 1;
    for (const key of this.#waiting) {
      if (this.#active.size >= limit) return;
      this.#waiting.delete(key);
      this.#active.add(key);
      void this.#work(key);
    }
  }

  async #work(key: K): Promise<void> {
    try {
      const repeat = await this.#options.process(key);
      this.#failures.delete(key);
      if (typeof repeat === 'number') this.addAfter(key, repeat);
    } catch (error) {
      this.#retry(key, error);
    }
    this.#active.delete(key);
    if (this.#again.delete(key)) this.#waiting.add(key);
    if (this.#waiting.size > 0) this.#schedule();
    if (this.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #retry(key: K, error: unknown): void {
    if (this.#stopped) return;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const wait = backoffDelay(failures, this.#options.backoff ?? DEFAULT_BACKOFF);
    const fields = { queue: this.#options.name, key, error: errorMessage(error), waitMs: Math.round(wait) };
    if (this.#options.isExpected?.(error)) this.#log.debug(fields, 'trying again');
    else this.#log.warn(fields, 'failed, trying again');
    this.addAfter(key, wait);
  }
}
