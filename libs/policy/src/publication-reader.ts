// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import { HEAD_KEY, compareRevisions, decodeRuleSet, decodeSubject, type Head } from './publication.ts';
import type { CidrIdentity, PolicyPublication, PolicyRevision, RuleSet, Subject } from './rule-set.ts';

/** One key of the policy bucket as it is now. */
export interface PublishedEntry {
  readonly key: string;
  /** Undefined: the key was deleted. */
  readonly value: string | undefined;
  /** What is wrong with the stored bytes; the value is undefined then. */
  readonly damage?: string;
}

interface Pending {
  ruleSets: Map<string, RuleSet>;
  subjects: Map<number, Subject>;
  removedSubjects: Set<number>;
  cidrs: Map<number, CidrIdentity>;
  removedCidrs: Set<string>;
}

function nothingPending(): Pending {
  return {
    ruleSets: new Map(),
    subjects: new Map(),
    removedSubjects: new Set(),
    cidrs: new Map(),
    removedCidrs: new Set(),
  };
}

function parseHead(text: string | undefined, damage: string | undefined): PolicyRevision {
  if (text === undefined) throw new Error(damage);
  const { epoch, revision } = JSON.parse(text) as Partial<Head>;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(revision))
    throw new Error(`no epoch and revision in ${text.slice(0, 80)}`);
  return { epoch: epoch!, revision: revision! };
}

/**
 * Turns entries of the policy bucket into publications: what comes before a head belongs to it. A head of an older leader
 * is ignored. A damaged document spoils its publication, not what is in force: `onProblem` hears of it.
 */
export class PublicationReader {
  readonly #onUpdate: (publication: PolicyPublication) => void;
  readonly #onProblem: (at: PolicyRevision | undefined, message: string) => void;
  readonly #prefixes = new Map<number, string>();
  #pending = nothingPending();
  #problem: string | undefined;
  #last: PolicyRevision | undefined;

  constructor(
    onUpdate: (publication: PolicyPublication) => void,
    onProblem: (at: PolicyRevision | undefined, message: string) => void,
  ) {
    this.#onUpdate = onUpdate;
    this.#onProblem = onProblem;
  }

  get revision(): PolicyRevision | undefined {
    return this.#last;
  }

  /** What keeps the newest publication from being used. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The complete bucket. Without a head it is empty or half written: nothing is said, so nothing changes. */
  snapshot(entries: readonly PublishedEntry[]): void {
    this.#pending = nothingPending();
    this.#problem = undefined;
    this.#prefixes.clear();
    let head: PublishedEntry | undefined;
    for (const entry of entries) {
      if (entry.key === HEAD_KEY) head = entry;
      else this.#take(entry);
    }
    if (head) this.#head(head, true);
  }

  change(entry: PublishedEntry): void {
    if (entry.key !== HEAD_KEY) this.#take(entry);
    else this.#head(entry, this.#last === undefined);
  }

  #head({ value, damage }: PublishedEntry, snapshot: boolean): void {
    if (value === undefined && damage === undefined) return;
    let at: PolicyRevision | undefined;
    try {
      at = parseHead(value, damage);
    } catch (error) {
      this.#problem ??= `${HEAD_KEY}: ${errorMessage(error)}`;
    }
    // After a wiped store the compiler starts over with a higher epoch, so an older head is a leader of the past.
    if (at && this.#last && compareRevisions(at, this.#last) < 0) return;
    if (snapshot) this.#problem ??= this.#missing();
    if (this.#problem !== undefined) this.#onProblem(at, this.#problem);
    else if (at) this.#publish(at, snapshot);
  }

  /** A key that is written while everything is read may be missed: what refers to it tells. */
  #missing(): string | undefined {
    const { ruleSets, subjects } = this.#pending;
    for (const { identity, ruleSet, pods = {} } of subjects.values()) {
      const absent = [ruleSet, ...Object.values(pods)].find((id) => !ruleSets.has(id));
      if (absent !== undefined) return `subject.${identity} names rule set ${absent}, which is not there`;
    }
    return undefined;
  }

  #take({ key, value, damage }: PublishedEntry): void {
    const dot = key.indexOf('.');
    const kind = key.slice(0, dot);
    const rest = key.slice(dot + 1);
    const pending = this.#pending;
    try {
      if (damage !== undefined) throw new Error(damage);
      if (kind === 'ruleset' && value !== undefined) pending.ruleSets.set(rest, decodeRuleSet(value));
      else if (kind === 'subject') this.#takeSubject(Number(rest), value);
      else if (kind === 'cidr') this.#takeCidr(Number(rest), value);
    } catch (error) {
      this.#problem = `${key}: ${errorMessage(error)}`;
    }
  }

  #takeSubject(identity: number, value: string | undefined): void {
    const { subjects, removedSubjects } = this.#pending;
    if (value === undefined) {
      subjects.delete(identity);
      removedSubjects.add(identity);
    } else {
      removedSubjects.delete(identity);
      subjects.set(identity, decodeSubject(value));
    }
  }

  #takeCidr(identity: number, value: string | undefined): void {
    const { cidrs, removedCidrs } = this.#pending;
    const known = this.#prefixes.get(identity);
    if (value === undefined) {
      cidrs.delete(identity);
      if (known !== undefined) removedCidrs.add(known);
      this.#prefixes.delete(identity);
    } else {
      removedCidrs.delete(value);
      cidrs.set(identity, { prefix: value, identity });
      this.#prefixes.set(identity, value);
    }
  }

  #publish(at: PolicyRevision, snapshot: boolean): void {
    const pending = this.#pending;
    this.#pending = nothingPending();
    this.#last = at;
    this.#onUpdate({
      at,
      snapshot,
      ruleSets: [...pending.ruleSets.values()],
      subjects: [...pending.subjects.values()],
      removedSubjects: [...pending.removedSubjects],
      cidrs: [...pending.cidrs.values()],
      removedCidrs: [...pending.removedCidrs],
    });
  }
}
