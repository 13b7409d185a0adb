// SPDX-License-Identifier: Apache-2.0
// What the numbers of rule sets mean: for events of a moment ago, and, on disk, for the agent's next start.
import {
  SEMANTICS_VERSION,
  type CidrIdentity,
  type Direction,
  type Origin,
  type PolicyRevision,
  type RuleSet,
  type Subject,
} from '@cilium-ts/policy';

export interface PersistedPolicy {
  /** What the rule sets mean; those of another version are not read. */
  readonly semantics: number;
  readonly at: PolicyRevision | undefined;
  readonly ruleSets: readonly { readonly number: number; readonly ruleSet: RuleSet }[];
  readonly subjects: readonly Subject[];
  readonly cidrs: readonly CidrIdentity[];
}

/** What decided a packet: the entry's origin, or the policies that isolate the endpoint. */
export type Decision =
  | { readonly kind: 'origin'; readonly origin: Origin }
  | { readonly kind: 'default-deny'; readonly isolatedBy: readonly Origin[] };

/** Number -> rule set, also of those that were removed a short while ago. */
export class RuleSetNumbers {
  readonly #meaning = new Map<number, RuleSet>();

  set(number: number, ruleSet: RuleSet): void {
    this.#meaning.set(number, ruleSet);
  }

  get(number: number): RuleSet | undefined {
    return this.#meaning.get(number);
  }

  forget(numbers: readonly number[]): void {
    for (const number of numbers) this.#meaning.delete(number);
  }

  /** What the policy map's entry stands for; undefined where the number is not known any more. */
  originOf(number: number, originId: number, direction: Direction): Decision | undefined {
    const ruleSet = this.#meaning.get(number);
    if (!ruleSet) return undefined;
    const origin = originId > 0 ? ruleSet.origins[originId - 1] : undefined;
    if (origin) return { kind: 'origin', origin };
    return { kind: 'default-deny', isolatedBy: ruleSet.isolatedBy[direction] };
  }

  /** Those that `isInForce`, to be kept. */
  kept(isInForce: (number: number, ruleSet: RuleSet) => boolean): PersistedPolicy['ruleSets'] {
    return [...this.#meaning].flatMap(([number, ruleSet]) =>
      isInForce(number, ruleSet) ? [{ number, ruleSet }] : [],
    );
  }
}

const PERSIST_AFTER_MS = 2000;

/** Keeps the state: at once where numbers changed; a revision that only brings subjects of other nodes can wait. */
export class PolicyMemory {
  readonly #write: (state: PersistedPolicy) => void;
  readonly #state: () => Omit<PersistedPolicy, 'semantics'>;
  #mark = '';
  #at: PolicyRevision | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(write: (state: PersistedPolicy) => void, state: () => Omit<PersistedPolicy, 'semantics'>) {
    this.#write = write;
    this.#state = state;
  }

  /** `mark` differs where numbers do. */
  changed(mark: string, at: PolicyRevision | undefined): void {
    if (mark !== this.#mark) {
      this.#mark = mark;
      this.flush();
    } else if (at !== this.#at) {
      this.#timer ??= setTimeout(() => this.flush(), PERSIST_AFTER_MS);
    }
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const state = this.#state();
    this.#at = state.at;
    this.#write({ semantics: SEMANTICS_VERSION, ...state });
  }

  /** Writes what still waits. */
  stop(): void {
    if (this.#timer) this.flush();
  }
}
