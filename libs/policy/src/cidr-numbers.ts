// SPDX-License-Identifier: Apache-2.0
import { CIDR_IDENTITY_MIN, IDENTITY_WORLD_IPV4, IDENTITY_WORLD_IPV6 } from '@cilium-ts/identity';
import type { CidrIdentity } from './rule-set.ts';

/** Which identity stands for which prefix. A number is never given twice, so it cannot come back with another meaning. */
export class CidrNumbers {
  readonly #given = new Map<string, number>();
  /** Numbers given to prefixes by an earlier run, so that a restart changes nothing. */
  readonly #remembered = new Map<string, number>();
  #next = CIDR_IDENTITY_MIN;

  /** The first that was never given. */
  get next(): number {
    return this.#next;
  }

  list(): CidrIdentity[] {
    return [...this.#given].map(([prefix, identity]) => ({ prefix, identity }));
  }

  /**
   * Takes over the numbers that nodes know. Those given here meanwhile (by a standby, for itself) are given anew; they are
   * the answer. `next` is the first that was never given.
   */
  restore(cidrs: readonly CidrIdentity[], next: number): CidrIdentity[] {
    const before = this.list();
    this.#given.clear();
    this.#remembered.clear();
    this.#next = Math.max(this.#next, next);
    for (const { prefix, identity } of cidrs) {
      this.#remembered.set(prefix, identity);
      if (identity >= this.#next) this.#next = identity + 1;
    }
    return before;
  }

  /** Gives every prefix that is wanted a number, and takes it from the others. */
  follow(wanted: ReadonlySet<string>): { added: CidrIdentity[]; removed: CidrIdentity[] } {
    const removed = this.list().filter(({ prefix }) => !wanted.has(prefix));
    for (const { prefix } of removed) this.#given.delete(prefix);
    const added: CidrIdentity[] = [];
    for (const prefix of wanted) {
      if (this.#given.has(prefix)) continue;
      const identity = this.#numberFor(prefix);
      this.#given.set(prefix, identity);
      added.push({ prefix, identity });
    }
    return { added, removed };
  }

  /** The whole address space of a family is the world of that family. */
  #numberFor(prefix: string): number {
    if (prefix === '0.0.0.0/0') return IDENTITY_WORLD_IPV4;
    if (prefix === '::/0') return IDENTITY_WORLD_IPV6;
    const known = this.#remembered.get(prefix);
    if (known !== undefined && ![...this.#given.values()].includes(known)) return known;
    const identity = this.#next++;
    this.#remembered.set(prefix, identity);
    return identity;
  }
}
