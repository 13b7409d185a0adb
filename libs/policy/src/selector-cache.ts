// SPDX-License-Identifier: Apache-2.0
import type { Label } from '@cilium-ts/identity';
import { indexLabels, matcherOf, type IndexedLabels, type Matcher } from './matcher.ts';
import { selectorKey, type LabelSelector } from './selector.ts';

interface Cached {
  readonly matches: Matcher;
  readonly identities: Set<number>;
}

/** Which identities each selector selects, kept up to date one identity at a time. */
export class SelectorCache {
  readonly #labels = new Map<number, readonly Label[]>();
  readonly #indexed = new Map<number, IndexedLabels>();
  readonly #selectors = new Map<string, Cached>();

  /** Canonical key of a selector. */
  key(selector: LabelSelector): string {
    return selectorKey(selector);
  }

  identities(): ReadonlyMap<number, readonly Label[]> {
    return this.#labels;
  }

  /** Evaluates a selector once; later calls answer from memory. */
  select(selector: LabelSelector): ReadonlySet<number> {
    const key = this.key(selector);
    let cached = this.#selectors.get(key);
    if (!cached) {
      const matches = matcherOf(selector);
      const identities = new Set<number>();
      for (const [id, labels] of this.#indexed) if (matches(labels)) identities.add(id);
      this.#selectors.set(key, (cached = { matches, identities }));
    }
    return cached.identities;
  }

  /** Adds, replaces or (labels undefined) removes an identity; returns the keys of selectors whose result changed. */
  update(id: number, labels: readonly Label[] | undefined): string[] {
    const indexed = labels && indexLabels(labels);
    if (labels) this.#labels.set(id, labels);
    else this.#labels.delete(id);
    if (indexed) this.#indexed.set(id, indexed);
    else this.#indexed.delete(id);
    const changed: string[] = [];
    for (const [key, { matches, identities }] of this.#selectors) {
      const wanted = indexed !== undefined && matches(indexed);
      if (wanted === identities.has(id)) continue;
      if (wanted) identities.add(id);
      else identities.delete(id);
      changed.push(key);
    }
    return changed;
  }

  /** How many selectors are kept up to date. */
  get size(): number {
    return this.#selectors.size;
  }

  /** Forgets selectors that nothing uses. */
  retain(used: ReadonlySet<string>): void {
    for (const key of this.#selectors.keys()) if (!used.has(key)) this.#selectors.delete(key);
  }
}
