// SPDX-License-Identifier: Apache-2.0
// Text forms of what is published: rows of numbers, and selectors as they are written.
import { AppError } from '@cilium-ts/base';
import { contentHash } from './resolve.ts';
import type { Direction, PolicyRevision, RowVerdict, RuleRow, RuleSet, Subject } from './rule-set.ts';

/** Bucket names and keys of the published policy. */
export const POLICY_BUCKET = 'cilium-policy';
/** Node name -> NodeReport. */
export const ACK_BUCKET = 'cilium-policy-acks';
/** What only compilers read: last valid versions of objects whose newest version is invalid. */
export const COMPILER_BUCKET = 'cilium-policy-compiler';

export const HEAD_KEY = 'head';
/** Whose turn it is to write: a Claim, taken by compare-and-set before a leader's first word. */
export const CLAIM_KEY = 'claim';

export function ruleSetKey(id: string): string {
  return `ruleset.${id}`;
}

/**
 * What is no rule set carries the epoch of its writer: a leader that was deposed and does not know it yet writes beside
 * what is in force, not over it.
 */
export function subjectKey(epoch: number, identity: number): string {
  return `subject.${epoch}.${identity}`;
}

/** Keys may not hold `/` or `:`, so the number is the key and the prefix the value. */
export function cidrKey(epoch: number, identity: number): string {
  return `cidr.${epoch}.${identity}`;
}

/** The parts of a key of one epoch; undefined for rule sets and all else. */
export function parseEpochKey(
  key: string,
): { readonly kind: 'subject' | 'cidr'; readonly epoch: number; readonly identity: number } | undefined {
  const [, kind, epoch, identity] = /^(subject|cidr)\.(\d+)\.(\d+)$/.exec(key) ?? [];
  if (kind === undefined) return undefined;
  return { kind: kind as 'subject' | 'cidr', epoch: Number(epoch), identity: Number(identity) };
}

export interface Claim {
  readonly epoch: number;
  readonly leader: string;
}

/** Written last: everything of this revision is in the bucket. */
export interface Head extends PolicyRevision {
  /** Name of the compiler that wrote it. */
  readonly leader: string;
  /** The first CIDR number that was never given. */
  readonly nextCidr?: number;
}

/** What a node says about the newest revision it has in its kernel. */
export interface NodeReport extends PolicyRevision {
  readonly node: string;
  /** Why a newer revision could not be realised. */
  readonly error?: string;
  /** Rule set id to the number of its map entries. */
  readonly entries?: Readonly<Record<string, number>>;
  /** Share of the fullest policy map that is used, 0 to 1. */
  readonly mapPressure?: number;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const VERDICTS: readonly RowVerdict[] = ['allow', 'deny', 'unenforced', 'pass'];
/** Numbers that rule set documents carry; a reader refuses other meanings instead of guessing. */
export const SEMANTICS_VERSION = 2;

export function encodeRuleSet(ruleSet: RuleSet): string {
  const { rows, ...rest } = ruleSet;
  return JSON.stringify({ semantics: SEMANTICS_VERSION, ...rest, rows: rows.map(encodeRow) });
}

function encodeRow(row: RuleRow): number[] {
  return [
    DIRECTIONS.indexOf(row.direction),
    VERDICTS.indexOf(row.verdict),
    row.level,
    row.rank,
    row.selector,
    row.protocol,
    row.from,
    row.to,
    row.origin,
    Number(row.audited),
  ];
}

/** @throws AppError `bad-rule-set` where the text is damaged, of other semantics, or not what its id says */
export function decodeRuleSet(text: string): RuleSet {
  const bad = (why: string): AppError => new AppError('bad-rule-set', `rule set document: ${why}`);
  let raw: { semantics?: number; rows?: number[][] } & Partial<Omit<RuleSet, 'rows'>>;
  try {
    raw = JSON.parse(text) as typeof raw;
  } catch {
    throw bad('not JSON');
  }
  if (raw.semantics !== SEMANTICS_VERSION)
    throw bad(`semantics ${raw.semantics}, understood: ${SEMANTICS_VERSION}`);
  const { id, rows, enforced, defaultDeny, selectors, origins, isolatedBy, auditedBy } = raw;
  if (!id || !rows || !enforced || !defaultDeny || !selectors || !origins || !isolatedBy || !auditedBy)
    throw bad('incomplete');
  const content = { enforced, defaultDeny, selectors, origins, isolatedBy, auditedBy };
  const whole = { ...content, rows: rows.map(decodeRow) };
  if (contentHash(whole) !== id) throw bad(`content does not match id ${id}`);
  return { id, ...whole };
}

function decodeRow(columns: readonly number[]): RuleRow {
  const [direction, verdict, level, rank, selector, protocol, from, to, origin, audited] = columns as [
    ...[number, number, number, number, number, number, number, number, number, number],
  ];
  return {
    direction: DIRECTIONS[direction]!,
    verdict: VERDICTS[verdict]!,
    level,
    rank,
    selector,
    protocol,
    from,
    to,
    origin,
    audited: audited === 1,
  };
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
