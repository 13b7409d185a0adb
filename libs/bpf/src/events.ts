// SPDX-License-Identifier: Apache-2.0
import type { Fd, Native, RingHandle, RingStats } from '@cilium-ts/native';

/** Where a record says which CPU wrote it and how many events that CPU had by then, written or lost. */
export interface SequenceFields {
  /** Byte offset of a u16. */
  readonly cpu: number;
  /** Byte offset of a u32. */
  readonly sequence: number;
}

export interface EventReaderOptions {
  readonly fields?: SequenceFields;
}

/** Records that arrived together; `view` and `bytes` stay valid as long as the batch is held. */
export interface EventBatch {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly count: number;
  /** Calls once per record with its place in `bytes`; allocates nothing. */
  forEach(use: (bytes: Uint8Array, offset: number, length: number) => void): void;
}

const RECORD_HEAD = 8;

/** Splits a chunk as the add-on frames it: u32 length, u32 zero, payload, padding to 8. */
export function eventBatch(chunk: ArrayBuffer, count: number): EventBatch {
  const bytes = new Uint8Array(chunk);
  const view = new DataView(chunk);
  return {
    bytes,
    view,
    count,
    forEach: (use) => {
      for (let at = 0; at + RECORD_HEAD <= bytes.length;) {
        const length = view.getUint32(at, true);
        use(bytes, at + RECORD_HEAD, length);
        at += RECORD_HEAD + ((length + 7) & ~7);
      }
    },
  };
}

/** Gaps in the per-CPU sequence numbers, exact also where a nested interrupt swaps neighbours. */
export class LossCounter {
  readonly #next = new Map<number, number>();
  #lost = 0;

  /** Events lost before the ones seen so far. */
  get lost(): number {
    return this.#lost;
  }

  see(cpu: number, sequence: number): void {
    const expected = this.#next.get(cpu);
    if (expected === undefined) {
      this.#next.set(cpu, (sequence + 1) >>> 0);
      return;
    }
    const ahead = (sequence - expected) | 0;
    if (ahead < 0) {
      // A late one: it had been counted as lost when its successor came first.
      this.#lost = Math.max(0, this.#lost - 1);
      return;
    }
    this.#lost += ahead;
    this.#next.set(cpu, (sequence + 1) >>> 0);
  }

  /** Events lost up to the CPUs' present counters (of the last event each), including any after the last one seen. */
  lostUpTo(counters: readonly number[]): number {
    let behind = 0;
    counters.forEach((counter, cpu) => {
      const expected = this.#next.get(cpu);
      if (expected !== undefined) behind += Math.max(0, (counter + 1 - expected) | 0);
    });
    return this.#lost + behind;
  }
}

/** Reads a ring buffer in batches. */
export class EventReader {
  readonly losses = new LossCounter();
  readonly #native: Native;
  readonly #ring: RingHandle;
  #stopped = false;

  /** `fd` stays the caller's. Batches come on the event loop, at the latest 20 ms after their first record. */
  constructor(
    native: Native,
    fd: Fd,
    onBatch: (batch: EventBatch) => void,
    options: EventReaderOptions = {},
  ) {
    this.#native = native;
    const { fields } = options;
    this.#ring = native.ringOpen(fd, (chunk, count) => {
      const batch = eventBatch(chunk, count);
      if (fields) this.#track(batch, fields);
      onBatch(batch);
    });
  }

  #track(batch: EventBatch, fields: SequenceFields): void {
    batch.forEach((_, offset, length) => {
      if (length < Math.max(fields.cpu + 2, fields.sequence + 4)) return;
      const cpu = batch.view.getUint16(offset + fields.cpu, true);
      this.losses.see(cpu, batch.view.getUint32(offset + fields.sequence, true));
    });
  }

  get lost(): number {
    return this.losses.lost;
  }

  stats(): RingStats {
    return this.#native.ringStats(this.#ring);
  }

  /** Joins the reading thread; batches on their way still arrive. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#native.ringStop(this.#ring);
  }
}
