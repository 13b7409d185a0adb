// SPDX-License-Identifier: Apache-2.0
import {
  ruleSetIdOf,
  type CidrIdentity,
  type PolicyPublication,
  type PolicyRevision,
  type RuleSet,
  type Subject,
} from '@cilium-ts/policy';

/** What the compiler said last, and which of its prefixes are still to be written or taken away. */
export class PublishedPolicy {
  readonly #documents = new Map<string, RuleSet>();
  readonly #subjects = new Map<number, Subject>();
  readonly #cidrs = new Map<string, CidrIdentity>();
  readonly #toWrite = new Map<string, CidrIdentity>();
  readonly #toRemove = new Map<string, CidrIdentity>();
  #at: PolicyRevision | undefined;

  get at(): PolicyRevision | undefined {
    return this.#at;
  }

  /** State of an earlier run. */
  restore(state: {
    readonly at: PolicyRevision | undefined;
    readonly ruleSets: readonly RuleSet[];
    readonly subjects: readonly Subject[];
    readonly cidrs: readonly CidrIdentity[];
  }): void {
    for (const ruleSet of state.ruleSets) this.#documents.set(ruleSet.id, ruleSet);
    for (const subject of state.subjects) this.#subjects.set(subject.identity, subject);
    for (const cidr of state.cidrs) this.#cidrs.set(cidr.prefix, cidr);
    this.#at = state.at;
  }

  learn(publication: PolicyPublication): void {
    const before = new Map(this.#cidrs);
    const removed = new Set(publication.removedCidrs);
    if (publication.snapshot) {
      for (const prefix of this.#cidrs.keys()) removed.add(prefix);
      this.#subjects.clear();
      const kept = new Set(publication.ruleSets.map((ruleSet) => ruleSet.id));
      for (const id of this.#documents.keys()) if (!kept.has(id)) this.#documents.delete(id);
    }
    for (const ruleSet of publication.ruleSets) this.#documents.set(ruleSet.id, ruleSet);
    for (const subject of publication.subjects) this.#subjects.set(subject.identity, subject);
    for (const identity of publication.removedSubjects) this.#subjects.delete(identity);
    for (const prefix of removed) this.#forgetCidr(prefix, before.get(prefix));
    for (const cidr of publication.cidrs) {
      this.#cidrs.set(cidr.prefix, cidr);
      this.#toWrite.set(cidr.prefix, cidr);
      this.#toRemove.delete(cidr.prefix);
    }
    this.#at = publication.at;
  }

  #forgetCidr(prefix: string, known: CidrIdentity | undefined): void {
    this.#cidrs.delete(prefix);
    this.#toWrite.delete(prefix);
    if (known) this.#toRemove.set(prefix, known);
  }

  /** Prefixes that the kernel does not have yet. */
  cidrsToWrite(): CidrIdentity[] {
    return [...this.#toWrite.values()];
  }

  written(cidrs: readonly CidrIdentity[]): void {
    for (const cidr of cidrs) if (this.#toWrite.get(cidr.prefix) === cidr) this.#toWrite.delete(cidr.prefix);
  }

  /** Prefixes that nobody names any more; each is given once. */
  takeRemovedCidrs(): CidrIdentity[] {
    const removed = [...this.#toRemove.values()];
    this.#toRemove.clear();
    return removed;
  }

  /** Some prefix has this number now. */
  usesCidrIdentity(identity: number): boolean {
    return [...this.#cidrs.values()].some((cidr) => cidr.identity === identity);
  }

  /** What could not be removed is removed with the next. */
  giveBackRemovedCidrs(cidrs: readonly CidrIdentity[]): void {
    for (const cidr of cidrs) if (!this.#cidrs.has(cidr.prefix)) this.#toRemove.set(cidr.prefix, cidr);
  }

  ruleSetOf(identity: number, pod: string): RuleSet | undefined {
    const subject = this.#subjects.get(identity);
    return subject && this.#documents.get(ruleSetIdOf(subject, pod));
  }

  knowsRuleSet(id: string): boolean {
    return this.#documents.has(id);
  }

  get cidrCount(): number {
    return this.#cidrs.size;
  }

  subjects(): Subject[] {
    return [...this.#subjects.values()];
  }

  cidrs(): CidrIdentity[] {
    return [...this.#cidrs.values()];
  }
}
