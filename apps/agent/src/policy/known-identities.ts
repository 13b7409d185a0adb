// SPDX-License-Identifier: Apache-2.0
// Which identities the policy maps of this node know. An address gets its identity only after that: an identity that no map
// knows yet would be judged by what is for everybody, past the denies that mean it.
import { parseLabel, type Label } from '@cilium-ts/identity';
import { SelectorCache } from '@cilium-ts/policy';
import type { TableReader } from '@cilium-ts/tables';
import type { IdentityRow } from '../rows.ts';

function labelsOf(row: IdentityRow): Label[] {
  return row.labels.map((text) => parseLabel(text));
}

export class KnownIdentities {
  readonly cache = new SelectorCache();
  readonly #known = new Set<number>();
  readonly #changed = new Set<number>();
  readonly #waiting = new Map<number, Set<() => void>>();
  readonly #onChange: () => void;

  /** @param onChange something is to be taken: call take soon */
  constructor(table: TableReader<IdentityRow>, onChange: () => void) {
    this.#onChange = onChange;
    for (const row of table.values()) this.update(row.id, labelsOf(row));
    table.watch((changes) => {
      for (const { key, after } of changes) this.update(Number(key), after && labelsOf(after));
    });
  }

  /** Labels undefined: the identity is gone. */
  update(id: number, labels: readonly Label[] | undefined): void {
    this.cache.update(id, labels);
    this.#changed.add(id);
    this.#onChange();
  }

  /** What changed since the last call; tell `settled` when the maps have it. */
  take(): number[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** The maps could not take these: they are tried again with the next. */
  giveBack(ids: readonly number[]): void {
    for (const id of ids) this.#changed.add(id);
  }

  settled(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.#changed.has(id)) continue;
      if (!this.cache.identities().has(id)) {
        this.#known.delete(id);
        continue;
      }
      this.#known.add(id);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      for (const tell of waiting ?? []) tell();
    }
  }

  has(id: number): boolean {
    return this.#known.has(id);
  }

  /** Calls at once where the maps know the identity, otherwise when they do; returns the way to stop. */
  whenKnown(id: number, tell: () => void): () => void {
    if (this.#known.has(id)) {
      tell();
      return () => undefined;
    }
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(tell));
    return () => waiting.delete(tell);
  }
}
