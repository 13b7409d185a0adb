// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import {
  HEAD_KEY,
  compareRevisions,
  decodeRuleSet,
  decodeSubject,
  parseEpochKey,
  type Head,
} from './publication.ts';
import type { CidrIdentity, PolicyPublication, PolicyRevision, RuleSet, Subject } from './rule-set.ts';

/** One key of the policy bucket as it is now. */
export interface PublishedEntry {
  readonly key: string;
  /** Undefined: the key was deleted. */
  readonly value: string | undefined;
  /** What is wrong with the stored bytes; the value is undefined then. */
  readonly damage?: string;
}

/** What came of one epoch since its last head; undefined: deleted. */
interface Pending {
  readonly subjects: Map<number, Subject | undefined>;
  readonly cidrs: Map<number, string | undefined>;
  problem: string | undefined;
}

const nothingPending = (): Pending => ({ subjects: new Map(), cidrs: new Map(), problem: undefined });

function parseHead(text: string | undefined, damage: string | undefined): PolicyRevision {
  if (text === undefined) throw new Error(damage);
  const { epoch, revision } = JSON.parse(text) as Partial<Head>;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(revision))
    throw new Error(`no epoch and revision in ${text.slice(0, 80)}`);
  return { epoch: epoch!, revision: revision! };
}

/**
 * Turns entries of the policy bucket into publications: what comes before a head belongs to it, if it carries the head's
 * epoch. The words and the head of an older leader are ignored. A damaged document spoils its publication, not what is in
 * force: `onProblem` hears of it.
 */
export class PublicationReader {
  readonly #onUpdate: (publication: PolicyPublication) => void;
  readonly #onProblem: (at: PolicyRevision | undefined, message: string) => void;
  /** What the last head spoke of. */
  #subjects = new Set<number>();
  #prefixes = new Map<number, string>();
  #ruleSets = new Map<string, RuleSet>();
  #ruleSetProblem: string | undefined;
  readonly #pending = new Map<number, Pending>();
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
    this.#pending.clear();
    this.#ruleSets.clear();
    this.#ruleSetProblem = this.#problem = undefined;
    this.#subjects.clear();
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
    if (at) {
      const pending = this.#pendingOf(at.epoch);
      this.#problem ??= pending.problem ?? this.#ruleSetProblem;
      if (snapshot) this.#problem ??= this.#missing(pending);
    }
    if (this.#problem !== undefined) this.#onProblem(at, this.#problem);
    else if (at) this.#publish(at, snapshot);
  }

  #pendingOf(epoch: number): Pending {
    let pending = this.#pending.get(epoch);
    if (!pending) this.#pending.set(epoch, (pending = nothingPending()));
    return pending;
  }

  /** A key that is written while everything is read may be missed: what refers to it tells. */
  #missing(pending: Pending): string | undefined {
    for (const subject of pending.subjects.values()) {
      if (!subject) continue;
      const { identity, ruleSet, pods = {} } = subject;
      const absent = [ruleSet, ...Object.values(pods)].find((id) => !this.#ruleSets.has(id));
      if (absent !== undefined) return `subject ${identity} names rule set ${absent}, which is not there`;
    }
    return undefined;
  }

  #take({ key, value, damage }: PublishedEntry): void {
    if (key.startsWith('ruleset.')) {
      this.#ruleSetProblem =
        this.#read(key, damage, () => {
          if (value !== undefined) this.#ruleSets.set(key.slice('ruleset.'.length), decodeRuleSet(value));
        }) ?? this.#ruleSetProblem;
      return;
    }
    const parts = parseEpochKey(key);
    if (!parts || (this.#last && parts.epoch < this.#last.epoch)) return;
    const pending = this.#pendingOf(parts.epoch);
    const problem = this.#read(key, damage, () => {
      if (parts.kind === 'cidr') pending.cidrs.set(parts.identity, value);
      else pending.subjects.set(parts.identity, value === undefined ? undefined : decodeSubject(value));
    });
    pending.problem = problem ?? pending.problem;
  }

  #read(key: string, damage: string | undefined, take: () => void): string | undefined {
    try {
      if (damage !== undefined) throw new Error(damage);
      take();
      return undefined;
    } catch (error) {
      return `${key}: ${errorMessage(error)}`;
    }
  }

  #publish(at: PolicyRevision, snapshot: boolean): void {
    const pending = this.#pendingOf(at.epoch);
    // A leader's first head speaks of all there is: what it does not name is gone.
    const isFirst = snapshot || this.#last?.epoch !== at.epoch;
    const publication = {
      at,
      snapshot,
      ruleSets: [...this.#ruleSets.values()],
      ...this.#subjectChanges(pending, isFirst),
      ...this.#cidrChanges(pending, isFirst),
    };
    for (const epoch of [...this.#pending.keys()]) if (epoch <= at.epoch) this.#pending.delete(epoch);
    this.#ruleSets = new Map();
    this.#last = at;
    this.#onUpdate(publication);
  }

  #subjectChanges(
    pending: Pending,
    isFirst: boolean,
  ): Pick<PolicyPublication, 'subjects' | 'removedSubjects'> {
    const removed = new Set(isFirst ? this.#subjects : []);
    const subjects: Subject[] = [];
    for (const [identity, subject] of pending.subjects) {
      if (subject) subjects.push(subject);
      if (subject) removed.delete(identity);
      else removed.add(identity);
    }
    for (const { identity } of subjects) this.#subjects.add(identity);
    for (const identity of removed) this.#subjects.delete(identity);
    return { subjects, removedSubjects: [...removed] };
  }

  #cidrChanges(pending: Pending, isFirst: boolean): Pick<PolicyPublication, 'cidrs' | 'removedCidrs'> {
    const removed = new Set(isFirst ? this.#prefixes.values() : []);
    if (isFirst) this.#prefixes.clear();
    const cidrs: CidrIdentity[] = [];
    for (const [identity, prefix] of pending.cidrs) {
      const known = this.#prefixes.get(identity);
      if (prefix === undefined) {
        if (known !== undefined) removed.add(known);
        this.#prefixes.delete(identity);
      } else {
        cidrs.push({ prefix, identity });
        this.#prefixes.set(identity, prefix);
      }
    }
    // A prefix whose number changed is not gone.
    for (const { prefix } of cidrs) removed.delete(prefix);
    return { cidrs, removedCidrs: [...removed] };
  }
}
