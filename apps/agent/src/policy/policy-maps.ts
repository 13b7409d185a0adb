// SPDX-License-Identifier: Apache-2.0
// The inner policy maps of this node: one for each rule set that local endpoints use, under a number of its own, kept in
// step with the identities that there are.
import type { PolicyEntry, PolicyKey } from '@cilium-ts/abi';
import { AppError } from '@cilium-ts/base';
import type { BpfMap, OuterMap } from '@cilium-ts/bpf';
import {
  MapState,
  encodeEntry,
  encodeKey,
  type MapChange,
  type RuleSet,
  type RuleSetEntry,
  type SelectorCache,
} from '@cilium-ts/policy';

export interface Realized {
  readonly number: number;
  readonly ruleSet: RuleSet;
}

interface Live extends Realized {
  readonly state: MapState;
  readonly inner: BpfMap<PolicyKey, PolicyEntry>;
}

export class PolicyMaps {
  readonly #outer: OuterMap<number, PolicyKey, PolicyEntry>;
  readonly #entriesMax: number;
  readonly #identities: SelectorCache;
  readonly #live = new Map<string, Live>();
  #next = 1;

  /** @param entriesMax most entries of one map */
  constructor(
    outer: OuterMap<number, PolicyKey, PolicyEntry>,
    entriesMax: number,
    identities: SelectorCache,
  ) {
    this.#outer = outer;
    this.#entriesMax = entriesMax;
    this.#identities = identities;
  }

  /** Numbers that are in the map from an earlier run; new ones come after them. */
  async present(): Promise<Set<number>> {
    const present = new Set((await this.#outer.entries()).map(([number]) => number));
    this.#next = Math.max(0, ...present) + 1;
    return present;
  }

  get(id: string): Realized | undefined {
    return this.#live.get(id);
  }

  list(): Realized[] {
    return [...this.#live.values()];
  }

  entries(id: string): RuleSetEntry[] | undefined {
    const live = this.#live.get(id);
    return live && [...live.state.entries()];
  }

  /**
   * One new inner map for each rule set that has none; one update of the outer map.
   * @throws AppError `policy-map-full`; SystemError where the kernel refuses: then nothing was made
   */
  async make(ruleSets: readonly RuleSet[]): Promise<void> {
    const made: Live[] = [];
    try {
      for (const ruleSet of ruleSets) {
        if (this.#live.has(ruleSet.id)) continue;
        const state = new MapState(ruleSet, (selector) => this.#identities.select(selector));
        this.#checkSize(state);
        const entries = [...state.entries()].map(encodeEntry);
        const inner = await this.#outer.createInner(entries, this.#entriesMax - entries.length);
        made.push({ number: this.#next++, ruleSet, state, inner });
      }
      await this.#outer.put(made.map(({ number, inner }) => [number, inner]));
    } catch (error) {
      for (const { inner } of made) inner.close();
      throw error;
    }
    for (const live of made) this.#live.set(live.ruleSet.id, live);
  }

  #checkSize(state: MapState): void {
    if (state.size <= this.#entriesMax) return;
    throw new AppError(
      'policy-map-full',
      `a rule set needs ${state.size} entries, bpf-policy-map-max is ${this.#entriesMax}`,
    );
  }

  /**
   * Follows identities that came, changed or went. A map that cannot follow is given up: it stays in the kernel as it is,
   * and the next `make` builds its rule set anew.
   * @throws like make, after all others have followed
   */
  async follow(identities: Iterable<number>): Promise<void> {
    const ids = [...identities];
    if (ids.length === 0) return;
    let failure: unknown;
    const follow = async (live: Live): Promise<void> => {
      try {
        await this.#followOne(live, ids);
      } catch (error) {
        failure ??= error;
        this.#forget(live);
      }
    };
    await Promise.all([...this.#live.values()].map(follow));
    if (failure !== undefined) throw failure;
  }

  async #followOne({ state, inner }: Live, ids: readonly number[]): Promise<void> {
    const change: MapChange = { upserts: [], deletes: [] };
    for (const id of ids) {
      const one = state.update(id, (selector) => this.#identities.select(selector).has(id));
      change.upserts.push(...one.upserts);
      change.deletes.push(...one.deletes);
    }
    this.#checkSize(state);
    const allows = ({ verdict }: RuleSetEntry): boolean => verdict === 'allow' || verdict === 'audit';
    // What drops comes first and goes last, so that nothing passes in between that may not.
    await this.#write(
      inner,
      change.upserts.filter((entry) => !allows(entry)),
    );
    await this.#erase(inner, change.deletes.filter(allows));
    await this.#write(inner, change.upserts.filter(allows));
    await this.#erase(
      inner,
      change.deletes.filter((entry) => !allows(entry)),
    );
  }

  async #write(inner: Live['inner'], entries: readonly RuleSetEntry[]): Promise<void> {
    if (entries.length > 0) await inner.setMany(entries.map(encodeEntry));
  }

  async #erase(inner: Live['inner'], entries: readonly RuleSetEntry[]): Promise<void> {
    if (entries.length > 0) await inner.deleteMany(entries.map(encodeKey));
  }

  #forget(live: Live): void {
    live.inner.close();
    this.#live.delete(live.ruleSet.id);
  }

  async remove(numbers: readonly number[]): Promise<void> {
    for (const live of [...this.#live.values()]) if (numbers.includes(live.number)) this.#forget(live);
    const selectors = [...this.#live.values()].flatMap(({ ruleSet }) => ruleSet.selectors);
    this.#identities.retain(new Set(selectors.map((selector) => this.#identities.key(selector))));
    await this.#outer.deleteMany(numbers);
  }

  close(): void {
    for (const live of [...this.#live.values()]) this.#forget(live);
  }
}
