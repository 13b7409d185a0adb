// SPDX-License-Identifier: Apache-2.0
// Tested: bucket entries become publications; nothing half, nothing old, nothing damaged. How: entries by hand.
import { describe, expect, test } from '@jest/globals';
import {
  PolicyEngine,
  PublicationReader,
  encodeRuleSet,
  encodeSubject,
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
    subject: put(`subject.${subject!.identity}`, encodeSubject(subject!)),
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
    read.snapshot([put('cidr.16777217', '10.0.0.0/8'), head(1, 1)]);
    read.change(gone('cidr.16777217'));
    read.change(gone('subject.300'));
    expect(seen).toHaveLength(1);
    read.change(head(1, 2));
    expect(seen[1]).toMatchObject({ snapshot: false, removedCidrs: ['10.0.0.0/8'], removedSubjects: [300] });
  });

  test('the head of an earlier leader is ignored', () => {
    const { reader: read, seen } = reader();
    read.snapshot([head(5, 3)]);
    read.change(head(4, 9));
    expect(seen).toHaveLength(1);
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
