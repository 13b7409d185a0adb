// SPDX-License-Identifier: Apache-2.0
// Tested: bucket entries become publications; nothing half, nothing old, nothing damaged. How: entries by hand.
import { describe, expect, test } from '@jest/globals';
import {
  PolicyEngine,
  PublicationReader,
  encodeRuleSet,
  encodeSubject,
  subjectKey,
  type PolicyPublication,
  type PublishedEntry,
} from './index.ts';

const put = (key: string, value: string): PublishedEntry => ({ key, value });
const gone = (key: string): PublishedEntry => ({ key, value: undefined });
const head = (epoch: number, revision: number): PublishedEntry =>
  put('head', JSON.stringify({ epoch, revision, leader: 'x' }));

function documents(): { ruleSet: PublishedEntry; subject: PublishedEntry } {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.compile();
  const [subject] = engine.state().subjects;
  return {
    ruleSet: put(`ruleset.${subject!.ruleSet}`, encodeRuleSet(engine.ruleSet(subject!.ruleSet)!)),
    subject: put(subjectKey(1, subject!.identity), encodeSubject(subject!)),
  };
}

function reader(): { reader: PublicationReader; seen: PolicyPublication[]; problems: string[] } {
  const seen: PolicyPublication[] = [];
  const problems: string[] = [];
  const made = new PublicationReader(
    (publication) => seen.push(publication),
    (_, message) => problems.push(message),
  );
  return { reader: made, seen, problems };
}

describe('publications', () => {
  test('a snapshot without a head says nothing; the head that follows says it all', () => {
    const { reader: read, seen } = reader();
    const { ruleSet, subject } = documents();
    read.snapshot([ruleSet, subject]);
    expect(seen).toEqual([]);
    read.change(head(1, 1));
    expect(seen).toMatchObject([{ at: { epoch: 1, revision: 1 }, snapshot: true }]);
    expect(seen[0]!.subjects).toHaveLength(1);
  });

  test('later changes wait for their head, removed prefixes are named', () => {
    const { reader: read, seen } = reader();
    read.snapshot([put('cidr.1.16777217', '10.0.0.0/8'), head(1, 1)]);
    read.change(gone('cidr.1.16777217'));
    read.change(gone('subject.1.300'));
    expect(seen).toHaveLength(1);
    read.change(head(1, 2));
    expect(seen[1]).toMatchObject({ snapshot: false, removedCidrs: ['10.0.0.0/8'], removedSubjects: [300] });
  });

  test('the words and the head of an earlier leader are ignored', () => {
    const { reader: read, seen } = reader();
    read.snapshot([put('cidr.5.16777217', '10.0.0.0/8'), head(5, 3)]);
    read.change(put('cidr.4.16777217', '11.0.0.0/8'));
    read.change(gone('cidr.4.16777217'));
    read.change(put('subject.4.300', 'damaged'));
    read.change(head(4, 9));
    expect(seen).toHaveLength(1);
    read.change(head(5, 4));
    expect(seen[1]).toMatchObject({ cidrs: [], removedCidrs: [], subjects: [] });
  });

  test('the first head of a new leader takes away what it does not name', () => {
    const { reader: read, seen } = reader();
    const { ruleSet, subject } = documents();
    const kept = put('cidr.1.16777218', '10.2.0.0/16');
    read.snapshot([put('cidr.1.16777217', '10.1.0.0/16'), kept, ruleSet, subject, head(1, 1)]);
    // The new leader's words come in between those of the old one and do not count before its head.
    read.change(put('cidr.2.16777218', '10.2.0.0/16'));
    read.change(put('cidr.1.16777219', '10.3.0.0/16'));
    read.change(head(1, 2));
    expect(seen[1]).toMatchObject({ snapshot: false, removedCidrs: [], removedSubjects: [] });
    expect(seen[1]!.cidrs).toEqual([{ prefix: '10.3.0.0/16', identity: 16777219 }]);
    read.change(head(2, 3));
    const { cidrs, removedCidrs, removedSubjects, snapshot } = seen[2]!;
    expect(snapshot).toBe(false);
    expect(cidrs).toEqual([{ prefix: '10.2.0.0/16', identity: 16777218 }]);
    expect(removedCidrs).toEqual(['10.1.0.0/16', '10.3.0.0/16']);
    expect(removedSubjects).toEqual(seen[0]!.subjects.map(({ identity }) => identity));
  });

  test('a snapshot that lacks a rule set which a subject names is not used', () => {
    const { reader: read, seen, problems } = reader();
    const { ruleSet, subject } = documents();
    read.snapshot([subject, head(1, 1)]);
    expect(seen).toEqual([]);
    expect(problems[0]).toContain('which is not there');
    read.snapshot([ruleSet, subject, head(1, 1)]);
    expect(seen[0]!.ruleSets).toHaveLength(1);
  });

  test('a damaged document keeps its publication from being used', () => {
    const { reader: read, seen, problems } = reader();
    const { ruleSet } = documents();
    read.snapshot([head(1, 1)]);
    read.change(put(ruleSet.key, ruleSet.value!.replace('"ingress":false', '"ingress":true')));
    read.change(head(1, 2));
    expect(seen).toHaveLength(1);
    expect(problems[0]).toContain('does not match');
  });
});
