// SPDX-License-Identifier: Apache-2.0
// The one reader of the event ring, and everyone who wants its events.
import { PacketEventOffsets } from '@cilium-ts/abi';
import { EventReader, type EventBatch } from '@cilium-ts/bpf';
import type { Native } from '@cilium-ts/native';

export type EventListener = (batch: EventBatch) => void;

/** Listeners are called in turn and must be quick: whoever needs time keeps a bounded queue of its own. */
export class MonitorFanOut {
  readonly #listeners = new Set<EventListener>();
  readonly #reader: EventReader;
  #events = 0;

  constructor(native: Native, eventsFd: number) {
    const fields = { cpu: PacketEventOffsets.cpu, sequence: PacketEventOffsets.sequence };
    this.#reader = new EventReader(native, eventsFd, (batch) => this.#deliver(batch), { fields });
  }

  #deliver(batch: EventBatch): void {
    this.#events += batch.count;
    for (const listener of this.#listeners) listener(batch);
  }

  subscribe(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  get events(): number {
    return this.#events;
  }

  get lost(): number {
    return this.#reader.lost;
  }

  stop(): void {
    this.#reader.stop();
  }
}
