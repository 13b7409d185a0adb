// SPDX-License-Identifier: Apache-2.0
// From batches of ring records to the flow ring, in slices, so that the event loop stays free; what does not fit is
// counted exactly.
import {
  takeRecord,
  type EventSource,
  type FlowEventBatch,
  type FlowFacts,
  type FlowLookups,
} from '@cilium-ts/flow';
import type { FlowRing } from './ring.ts';
import type { SeenNamespaces } from './namespaces.ts';

/** Events waiting to be taken in. */
const QUEUE_MAX = 65_536;
const SLICE = 512;
const LOSS_INTERVAL_MS = 1000;

interface Place {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

export interface IntakePorts {
  readonly source: EventSource;
  readonly lookups: FlowLookups;
  readonly ring: FlowRing;
  readonly namespaces: SeenNamespaces;
  /** Hears of every event; `flush` after each slice. */
  readonly see?: (facts: FlowFacts) => void;
  readonly flush?: () => void;
  readonly onLost: (source: 'datapath' | 'queue', count: number) => void;
  /** Nanoseconds since the Unix epoch. */
  readonly now: () => bigint;
}

export class FlowIntake {
  readonly #ports: IntakePorts;
  readonly #unsubscribe: () => void;
  readonly #timer: NodeJS.Timeout;
  #queue: Place[] = [];
  #at = 0;
  #running = false;
  #stopped = false;
  #lostInQueue = 0;
  #toldDatapath = 0;

  constructor(ports: IntakePorts) {
    this.#ports = ports;
    this.#unsubscribe = ports.source.subscribe((batch) => this.#receive(batch));
    this.#toldDatapath = ports.source.lost;
    this.#timer = setInterval(() => this.#tellLosses(), LOSS_INTERVAL_MS);
    this.#timer.unref();
  }

  get waiting(): number {
    return this.#queue.length - this.#at;
  }

  #receive(batch: FlowEventBatch): void {
    batch.forEach((bytes, offset, length) => {
      if (this.waiting >= QUEUE_MAX) this.#lostInQueue++;
      else this.#queue.push({ bytes, offset, length });
    });
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => this.#slice());
  }

  #slice(): void {
    const { lookups, ring, namespaces, see, flush, now } = this.#ports;
    const end = Math.min(this.#queue.length, this.#at + SLICE);
    const time = now();
    for (; this.#at < end; this.#at++) {
      const { bytes, offset, length } = this.#queue[this.#at]!;
      const record = takeRecord(lookups, bytes, offset, length, see);
      if (!record) continue;
      ring.write(record);
      namespaces.see(record.source?.namespace, time);
      namespaces.see(record.destination?.namespace, time);
    }
    flush?.();
    ring.wake();
    if (this.#at >= this.#queue.length) {
      this.#queue = [];
      this.#at = 0;
      this.#running = false;
    } else if (!this.#stopped) setImmediate(() => this.#slice());
  }

  /** At most one entry per source and interval; a count that went down (a late event) is carried over. */
  #tellLosses(): void {
    const { source, ring, onLost, now } = this.#ports;
    const datapath = source.lost - this.#toldDatapath;
    if (datapath <= 0 && this.#lostInQueue === 0) return;
    if (datapath > 0) {
      this.#toldDatapath += datapath;
      ring.write({ time: now(), lost: datapath, source: 'datapath' });
      onLost('datapath', datapath);
    }
    if (this.#lostInQueue > 0) {
      ring.write({ time: now(), lost: this.#lostInQueue, source: 'queue' });
      onLost('queue', this.#lostInQueue);
      this.#lostInQueue = 0;
    }
    ring.wake();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#unsubscribe();
  }
}
