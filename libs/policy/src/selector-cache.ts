// SPDX-License-Identifier: Apache-2.0
import type { Label } from '@cilium-ts/identity';
import { selectorKey, selects, type LabelSelector } from './selector.ts';

interface Cached {
  readonly selector: LabelSelector;
  readonly identities: Set<number>;
}

/** Which identities each selector selects, kept up to date one identity at a time. */
export class SelectorCache {
  readonly #labels = new Map<number, readonly Label[]>();
  readonly #selectors = new Map<string, Cached>();
  readonly #keys = new WeakMap<LabelSelector, string>();

  /** Canonical key of a selector, remembered by object. */
  key(selector: LabelSelector): string {
    let key = this.#keys.get(selector);
    if (key === undefined) this.#keys.set(selector, (key = selectorKey(selector)));
    return key;
  }

  identities(): ReadonlyMap<number, readonly Label[]> {
    return this.#labels;
  }

  /** Evaluates a selector once; later calls answer from memory. */
  select(selector: LabelSelector): ReadonlySet<number> {
    const key = this.key(selector);
    let cached = this.#selectors.get(key);
    if (!cached) {
      const identities = new Set<number>();
      for (const [id, labels] of this.#labels) if (selects(selector, labels)) identities.add(id);
      this.#selectors.set(key, (cached = { selector, identities }));
    }
    return cached.identities;
  }

  /** Adds, replaces or (labels undefined) removes an identity; returns the keys of selectors whose result changed. */
  update(id: number, labels: readonly Label[] | undefined): string[] {
    if (labels) this.#labels.set(id, labels);
    else this.#labels.delete(id);
    const changed: string[] = [];
    for (const [key, { selector, identities }] of this.#selectors) {
      const wanted = labels !== undefined && selects(selector, labels);
      if (wanted === identities.has(id)) continue;
      if (wanted) identities.add(id);
      else identities.delete(id);
      changed.push(key);
    }
    return changed;
  }

  /** Forgets selectors that nothing uses. */
  retain(used: ReadonlySet<string>): void {
    for (const key of this.#selectors.keys()) if (!used.has(key)) this.#selectors.delete(key);
  }
}
