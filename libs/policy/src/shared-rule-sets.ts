// SPDX-License-Identifier: Apache-2.0
import type { RuleSet, Subject } from './rule-set.ts';

/** Rule sets by id, each for as long as a subject uses it. */
export class SharedRuleSets {
  readonly #held = new Map<string, { readonly ruleSet: RuleSet; users: number }>();

  get(id: string): RuleSet | undefined {
    return this.#held.get(id)?.ruleSet;
  }

  list(): RuleSet[] {
    return [...this.#held.values()].map(({ ruleSet }) => ruleSet);
  }

  /** Takes in a rule set, not yet counted as used; false where an equal one is there. */
  add(ruleSet: RuleSet): boolean {
    if (this.#held.has(ruleSet.id)) return false;
    this.#held.set(ruleSet.id, { ruleSet, users: 0 });
    return true;
  }

  use(subject: Subject): void {
    for (const id of ruleSetIds(subject)) this.#held.get(id)!.users++;
  }

  release(subject: Subject | undefined): void {
    if (!subject) return;
    for (const id of ruleSetIds(subject)) {
      const held = this.#held.get(id);
      if (held && --held.users <= 0) this.#held.delete(id);
    }
  }
}

function ruleSetIds(subject: Subject): string[] {
  return [...new Set([subject.ruleSet, ...Object.values(subject.pods ?? {})])];
}
