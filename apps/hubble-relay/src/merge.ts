// SPDX-License-Identifier: Apache-2.0
// Streams that are each in order of time become one. An item leaves when every open stream has shown a later one, when it
// has waited long enough, or when too many wait.

export interface MergeOptions {
  readonly holdMs: number;
  /** Above it items leave although earlier ones may still come. */
  readonly max: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

interface Waiting<T> {
  readonly item: T;
  readonly time: bigint;
  readonly arrived: number;
}

interface Lane<T> {
  items: Waiting<T>[];
  at: number;
}

export class Merger<T> {
  readonly #options: MergeOptions;
  readonly #lanes = new Map<object, Lane<T>>();
  readonly #ended: Lane<T>[] = [];
  #waiting = 0;

  constructor(options: MergeOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  open(source: object): void {
    this.#lanes.set(source, { items: [], at: 0 });
  }

  /** Items of one stream that wait. */
  waitingOf(source: object): number {
    const lane = this.#lanes.get(source);
    return lane ? lane.items.length - lane.at : 0;
  }

  push(source: object, time: bigint, item: T): void {
    this.#lanes.get(source)?.items.push({ item, time, arrived: this.#options.now() });
    this.#waiting++;
  }

  /** What it has shown still comes, in its place. */
  close(source: object): void {
    const lane = this.#lanes.get(source);
    this.#lanes.delete(source);
    if (lane && lane.at < lane.items.length) this.#ended.push(lane);
  }

  /** The next item in order; undefined where it must wait. */
  next(): T | undefined {
    if (this.#waiting === 0) return undefined;
    let first: Lane<T> | undefined;
    let isComplete = true;
    for (const lane of this.#lanes.values()) {
      if (lane.at >= lane.items.length) isComplete = false;
      else first = earlier(first, lane);
    }
    for (const lane of this.#ended) first = earlier(first, lane);
    if (!first) return undefined;
    const head = first.items[first.at]!;
    const hasWaited = this.#options.now() - head.arrived >= this.#options.holdMs;
    if (!isComplete && !hasWaited && this.#waiting <= this.#options.max) return undefined;
    this.#take(first);
    return head.item;
  }

  #take(lane: Lane<T>): void {
    lane.at++;
    this.#waiting--;
    if (lane.at < lane.items.length && lane.at < 1024) return;
    lane.items = lane.items.slice(lane.at);
    lane.at = 0;
    const ended = this.#ended.indexOf(lane);
    if (ended >= 0 && lane.items.length === 0) this.#ended.splice(ended, 1);
  }
}

function earlier<T>(best: Lane<T> | undefined, lane: Lane<T>): Lane<T> {
  if (!best) return lane;
  return lane.items[lane.at]!.time < best.items[best.at]!.time ? lane : best;
}
