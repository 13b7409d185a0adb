// SPDX-License-Identifier: Apache-2.0
// Text forms of what is published. Entries are rows of numbers: a rule set of 10,000 entries is about 400 kB of text.
import { AppError } from '@cilium-ts/base';
import { contentHash } from './resolve.ts';
import type { Direction, PolicyRevision, RuleSet, RuleSetEntry, Subject, Verdict } from './rule-set.ts';

/** Bucket names and keys of the published policy. */
export const POLICY_BUCKET = 'cilium-policy';
/** Node name -> NodeReport. */
export const ACK_BUCKET = 'cilium-policy-acks';
/** What only compilers read: last valid versions of objects whose newest version is invalid. */
export const COMPILER_BUCKET = 'cilium-policy-compiler';

export const HEAD_KEY = 'head';

export function ruleSetKey(id: string): string {
  return `ruleset.${id}`;
}

export function subjectKey(identity: number): string {
  return `subject.${identity}`;
}

/** Keys may not hold `/` or `:`, so the number is the key and the prefix the value. */
export function cidrKey(identity: number): string {
  return `cidr.${identity}`;
}

/** Written last: everything of this revision is in the bucket. */
export interface Head extends PolicyRevision {
  /** Name of the compiler that wrote it. */
  readonly leader: string;
}

/** What a node says about the newest revision it has in its kernel. */
export interface NodeReport extends PolicyRevision {
  readonly node: string;
  /** Why a newer revision could not be realised. */
  readonly error?: string;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const VERDICTS: readonly Verdict[] = ['allow', 'deny', 'unenforced'];
/** Numbers that rule set documents carry; a reader refuses other meanings instead of guessing. */
export const SEMANTICS_VERSION = 1;

export function encodeRuleSet(ruleSet: RuleSet): string {
  const rows = ruleSet.entries.map((e) => [
    DIRECTIONS.indexOf(e.direction),
    e.identity,
    e.protocol,
    e.port,
    e.portPrefix,
    VERDICTS.indexOf(e.verdict),
    e.precedence,
    e.origin,
    e.l7 ?? 0,
  ]);
  const { id, enforced, origins, isolatedBy } = ruleSet;
  return JSON.stringify({ semantics: SEMANTICS_VERSION, id, enforced, isolatedBy, origins, rows });
}

/** @throws AppError `bad-rule-set` where the text is damaged, of other semantics, or not what its id says */
export function decodeRuleSet(text: string): RuleSet {
  const bad = (why: string): AppError => new AppError('bad-rule-set', `rule set document: ${why}`);
  let raw: { semantics?: number; rows?: number[][] } & Partial<Omit<RuleSet, 'entries'>>;
  try {
    raw = JSON.parse(text) as typeof raw;
  } catch {
    throw bad('not JSON');
  }
  if (raw.semantics !== SEMANTICS_VERSION)
    throw bad(`semantics ${raw.semantics}, understood: ${SEMANTICS_VERSION}`);
  const { id, rows, enforced, origins, isolatedBy } = raw;
  if (!id || !rows || !enforced || !origins || !isolatedBy) throw bad('incomplete');
  const content = { enforced, entries: rows.map(decodeRow), origins, isolatedBy };
  if (contentHash(content) !== id) throw bad(`content does not match id ${id}`);
  return { id, ...content };
}

function decodeRow(row: readonly number[]): RuleSetEntry {
  const [direction, identity, protocol, port, portPrefix, verdict, precedence, origin, l7] = row as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const entry = {
    direction: DIRECTIONS[direction]!,
    identity,
    protocol,
    port,
    portPrefix,
    verdict: VERDICTS[verdict]!,
    precedence,
    origin,
  };
  return l7 ? { ...entry, l7 } : entry;
}

export function encodeSubject(subject: Subject): string {
  return JSON.stringify(subject);
}

/** @throws AppError `bad-subject` */
export function decodeSubject(text: string): Subject {
  const raw = JSON.parse(text) as Partial<Subject>;
  if (typeof raw.identity !== 'number' || typeof raw.ruleSet !== 'string') {
    throw new AppError('bad-subject', `subject document: ${text.slice(0, 100)}`);
  }
  return raw as Subject;
}

/** Negative where `a` is older than `b`. */
export function compareRevisions(a: PolicyRevision, b: PolicyRevision): number {
  return a.epoch - b.epoch || a.revision - b.revision;
}
