// SPDX-License-Identifier: Apache-2.0
// The flows of this node, newest last: a ring of taken-in records that many readers walk at their own pace.
import type { FlowRecord } from '@cilium-ts/flow';

/** Events that never became records. */
export interface LostRecord {
  readonly time: bigint;
  readonly lost: number;
  readonly source: 'datapath' | 'queue';
}

export type RingEntry = FlowRecord | LostRecord;

export const isLost = (entry: RingEntry): entry is LostRecord => 'lost' in entry;

const RATE_WINDOW_NS = 60_000_000_000n;

/** Positions count writes since the start, so they never repeat. One writer. */
export class FlowRing {
  readonly capacity: number;
  readonly #entries: (RingEntry | undefined)[];
  readonly #waiting = new Set<() => void>();
  #end = 0;
  #flows = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#entries = new Array<RingEntry | undefined>(capacity);
  }

  /** Position of the next write. */
  get end(): number {
    return this.#end;
  }

  /** Position of the oldest entry that is still here. */
  get start(): number {
    return Math.max(0, this.#end - this.capacity);
  }

  get length(): number {
    return this.#end - this.start;
  }

  /** Flows written since the start. */
  get seen(): number {
    return this.#flows;
  }

  at(position: number): RingEntry | undefined {
    return position < this.start || position >= this.#end
      ? undefined
      : this.#entries[position % this.capacity];
  }

  write(entry: RingEntry): void {
    this.#entries[this.#end % this.capacity] = entry;
    this.#end++;
    if (!isLost(entry)) this.#flows++;
  }

  /** Wakes readers that wait at the end; call after a batch of writes. */
  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of waiting) resume();
  }

  /** Resolves at the next `wake`, or when the signal aborts. */
  whenWritten(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** Flows per second over the last minute, or over the time the ring covers if that is less. */
  rate(now: bigint): number {
    let flows = 0;
    let oldest = now;
    for (let at = this.#end - 1; at >= this.start; at--) {
      const entry = this.#entries[at % this.capacity]!;
      if (now - entry.time > RATE_WINDOW_NS) {
        oldest = now - RATE_WINDOW_NS;
        break;
      }
      oldest = entry.time;
      if (!isLost(entry)) flows++;
    }
    const seconds = Number(now - oldest) / 1e9;
    return seconds <= 0 ? 0 : flows / seconds;
  }
}
