// SPDX-License-Identifier: Apache-2.0

export interface SlotRange {
  readonly offset: number;
  readonly count: number;
}

interface Quarantined extends SlotRange {
  readonly until: number;
}

/**
 * Ranges of the flat slot array. A freed range rests before it is used again, so that a program that has read the old
 * service value still finds the old backends there. First fit; neighbours are joined.
 */
export class SlotAllocator {
  readonly #capacity: number;
  readonly #restMs: number;
  #free: SlotRange[];
  #resting: Quarantined[] = [];

  constructor(capacity: number, restMs = 10_000) {
    this.#capacity = capacity;
    this.#restMs = restMs;
    this.#free = [{ offset: 0, count: capacity }];
  }

  get used(): number {
    const idle = [...this.#free, ...this.#resting].reduce((sum, range) => sum + range.count, 0);
    return this.#capacity - idle;
  }

  /** Offset of `count` slots; undefined where there is no room. A count of 0 needs none. */
  allocate(count: number, nowMs: number): number | undefined {
    if (count === 0) return 0;
    this.#reap(nowMs);
    const index = this.#free.findIndex((range) => range.count >= count);
    const range = this.#free[index];
    if (!range) return undefined;
    if (range.count === count) this.#free.splice(index, 1);
    else this.#free[index] = { offset: range.offset + count, count: range.count - count };
    return range.offset;
  }

  /** Takes a range that is in use already (restored); false where it overlaps another. */
  claim(range: SlotRange): boolean {
    if (range.count === 0) return true;
    const index = this.#free.findIndex(
      (free) => free.offset <= range.offset && free.offset + free.count >= range.offset + range.count,
    );
    const free = this.#free[index];
    if (!free) return false;
    const left = { offset: free.offset, count: range.offset - free.offset };
    const end = range.offset + range.count;
    const right = { offset: end, count: free.offset + free.count - end };
    this.#free.splice(index, 1, ...[left, right].filter((part) => part.count > 0));
    return true;
  }

  release(range: SlotRange, nowMs: number): void {
    if (range.count > 0) this.#resting.push({ ...range, until: nowMs + this.#restMs });
  }

  #reap(nowMs: number): void {
    const done = this.#resting.filter((range) => range.until <= nowMs);
    if (done.length === 0) return;
    this.#resting = this.#resting.filter((range) => range.until > nowMs);
    const sorted = [...this.#free, ...done].sort((a, b) => a.offset - b.offset);
    const joined: SlotRange[] = [];
    for (const { offset, count } of sorted) {
      const last = joined.at(-1);
      if (last && last.offset + last.count === offset)
        joined[joined.length - 1] = { offset: last.offset, count: last.count + count };
      else joined.push({ offset, count });
    }
    this.#free = joined;
  }
}
