// SPDX-License-Identifier: Apache-2.0
import {
  ServiceFlags,
  type BackendSlot,
  type ReverseNatValue,
  type ServiceKey,
  type ServiceValue,
} from '@cilium-ts/abi';
import { AppError } from '@cilium-ts/base';
import { frontendKey, type Frontend } from './model.ts';
import { SlotAllocator } from './slots.ts';

/** What to write, in this order: slots, reverse NAT, services; then the removals, services first. */
export interface LayoutChange {
  readonly slots: readonly (readonly [number, BackendSlot])[];
  readonly reverseNat: readonly (readonly [number, ReverseNatValue])[];
  readonly services: readonly (readonly [ServiceKey, ServiceValue])[];
  readonly removedServices: readonly ServiceKey[];
  readonly removedReverseNat: readonly number[];
}

export interface PlacedFrontend {
  readonly frontend: Frontend;
  readonly id: number;
  readonly value: ServiceValue;
  /** Same order as the frontend's backends. */
  readonly backendIds: readonly number[];
}

const keyOf = ({ address, port, protocol }: Frontend): ServiceKey => ({
  addr: address,
  port,
  protocol,
  scope: 0,
});

/** Frontends to ids and ranges of the slot array. Keeps ids as long as a frontend lives; each change of backends gets a fresh range. */
export class ServiceLayout {
  readonly #slots: SlotAllocator;
  readonly #placed = new Map<string, PlacedFrontend>();
  readonly #restoredIds = new Map<string, number>();
  readonly #usedIds = new Set<number>();
  readonly #backendIds = new Map<string, number>();
  #nextId = 1;
  #nextBackend = 1;
  #generation = 1;

  constructor(slotCapacity: number, restMs?: number) {
    this.#slots = new SlotAllocator(slotCapacity, restMs);
  }

  /**
   * Takes over the service map of an earlier run: ids stay, its ranges rest before they are used again.
   * Every frontend is written anew by its first update.
   */
  restore(services: readonly (readonly [ServiceKey, ServiceValue])[], nowMs: number): void {
    for (const [key, value] of services) {
      const name = `${key.addr} ${key.port}/${key.protocol}`;
      this.#restoredIds.set(name, value.id);
      this.#usedIds.add(value.id);
      this.#generation = Math.max(this.#generation, value.generation + 1);
      const range = { offset: value.offset, count: value.count };
      if (this.#slots.claim(range)) this.#slots.release(range, nowMs);
    }
  }

  get(key: string): PlacedFrontend | undefined {
    return this.#placed.get(key);
  }

  values(): IterableIterator<PlacedFrontend> {
    return this.#placed.values();
  }

  get slotsUsed(): number {
    return this.#slots.used;
  }

  /**
   * Plans these changes. Memory follows the plan, so the caller must write it (or plan again).
   * @throws AppError `slots-full`; then nothing was changed
   */
  update(upserts: readonly Frontend[], removals: readonly string[], nowMs: number): LayoutChange {
    const change = {
      slots: [] as [number, BackendSlot][],
      reverseNat: [] as [number, ReverseNatValue][],
      services: [] as [ServiceKey, ServiceValue][],
      removedServices: [] as ServiceKey[],
      removedReverseNat: [] as number[],
    };
    const ranges = this.#reserve(upserts, nowMs);
    for (const [i, frontend] of upserts.entries()) this.#place(frontend, ranges[i]!, change, nowMs);
    for (const name of removals) {
      const placed = this.#placed.get(name);
      if (!placed) continue;
      this.#placed.delete(name);
      this.#usedIds.delete(placed.id);
      this.#slots.release(placed.value, nowMs);
      change.removedServices.push(keyOf(placed.frontend));
      change.removedReverseNat.push(placed.id);
    }
    return change;
  }

  #reserve(upserts: readonly Frontend[], nowMs: number): number[] {
    const offsets: number[] = [];
    for (const frontend of upserts) {
      const count = frontend.backends.length;
      const offset = this.#slots.allocate(count, nowMs);
      if (offset === undefined) {
        upserts.slice(0, offsets.length).forEach((done, i) => {
          this.#slots.release({ offset: offsets[i]!, count: done.backends.length }, nowMs);
        });
        throw new AppError(
          'slots-full',
          `no room for ${count} backends of ${frontend.namespace}/${frontend.name}`,
        );
      }
      offsets.push(offset);
    }
    return offsets;
  }

  #place(
    frontend: Frontend,
    offset: number,
    change: {
      slots: [number, BackendSlot][];
      reverseNat: [number, ReverseNatValue][];
      services: [ServiceKey, ServiceValue][];
    },
    nowMs: number,
  ): void {
    const name = frontendKey(frontend);
    const old = this.#placed.get(name);
    const id = old?.id ?? this.#idFor(name);
    const backendIds = frontend.backends.map(({ address, port, protocol }, i) => {
      const backendId = this.#backendId(`${address} ${port}/${protocol}`);
      change.slots.push([offset + i, { addr: address, port, protocol, flags: 0, backendId }]);
      return backendId;
    });
    const affinity = frontend.affinityTimeoutSeconds;
    const value: ServiceValue = {
      id,
      offset,
      count: frontend.backends.length,
      generation: this.#generation++,
      affinityTimeout: affinity,
      flags: ServiceFlags.SERVICE_CLUSTER_IP | (affinity > 0 ? ServiceFlags.SERVICE_AFFINITY : 0),
    };
    if (old) this.#slots.release(old.value, nowMs);
    else change.reverseNat.push([id, { addr: frontend.address, port: frontend.port }]);
    change.services.push([keyOf(frontend), value]);
    this.#placed.set(name, { frontend, id, value, backendIds });
  }

  #idFor(name: string): number {
    const restored = this.#restoredIds.get(name);
    if (restored !== undefined) {
      this.#restoredIds.delete(name);
      return restored;
    }
    while (this.#usedIds.has(this.#nextId)) this.#nextId++;
    this.#usedIds.add(this.#nextId);
    return this.#nextId++;
  }

  #backendId(name: string): number {
    let id = this.#backendIds.get(name);
    if (id === undefined) this.#backendIds.set(name, (id = this.#nextBackend++));
    return id;
  }
}
