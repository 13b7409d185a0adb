// SPDX-License-Identifier: Apache-2.0
// Tested: the inputs of policy-compile give the entries that are known for them, and the bench runs.
// How: digests of the sorted entries against golden values; the bench in its small form.
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { engineFor, policyCompile } from './policy-compile.ts';
import { cidrPolicies, labelPolicies, peerIdentities, SUBJECT_IDENTITY } from './policy-inputs.ts';

type Policies = Parameters<typeof engineFor>[0];

function digest(policies: Policies, identities: Parameters<typeof engineFor>[1] = []): [number, string] {
  const engine = engineFor(policies, identities);
  const state = engine.mapState(engine.subject(SUBJECT_IDENTITY)!.ruleSet)!;
  const lines = [...state.entries()]
    // The local host's own entry is ours: the reference allows it outside of the policy map's content.
    .filter(({ identity }) => identity !== 1)
    .map(
      ({ direction, protocol, port, portPrefix, identity, verdict }) =>
        `${direction === 'egress' ? 1 : 0} ${protocol} ${port} ${portPrefix} ${identity} ${verdict}\n`,
    )
    .sort();
  return [lines.length, createHash('sha256').update(lines.join('')).digest('hex')];
}

describe('known inputs give known entries', () => {
  test.each([
    [10, false, 16, 'c19031a579ee0633272e1322abdf40aa0dc18751ec76cf0d5335c7b2506c04af'],
    [100, false, 644, '7eac03fb0a4af994f73193099f124bb9827e115aaf86ef3c71c8db237a6fef63'],
    [1000, false, 44596, 'bbae942187a64366777379bded3e72e9a7bae4cfe08980c1c326a8b9be8eb6e8'],
    [10, true, 41, '6477e58d034a7492ede6f163227a4c0782edaa4ca709a070f37ecdacda085244'],
    [100, true, 2203, '27fc9b251b38a0ae989c515aeca2d457b0add657e8fc69027f053284740cd2fb'],
    [1000, true, 117515, '9b85af588528c874153fd5f4b476b98c5ea9470bcbcb84b870edd9b11533e96f'],
  ])('%d CIDR rules, denies too: %s', (count, deny, entries, hash) => {
    expect(digest(cidrPolicies(count, deny))).toEqual([entries, hash]);
  });

  test.each([
    ['ingress' as const, '32478011de0536503c5d50ae5ea0d24925b4cd46e7a44ca80d28ec99abec9b06'],
    ['egress' as const, 'a0ee61161f59fbe37148c40fb5cdc98d05b9b11bb850555dd3b737df60ff3406'],
  ])('label rules in %s that no identity matches leave the other direction open', (direction, hash) => {
    const result = digest(labelPolicies(100, direction), peerIdentities(300, false));
    expect(result).toEqual([1, hash]);
  });

  test('label rules that every identity matches give one entry each', () => {
    const [entries] = digest(labelPolicies(100, 'egress'), peerIdentities(300, true));
    expect(entries).toBe(301);
  });
});

test('the bench runs and reports every step', async () => {
  const rows = await policyCompile.run({ small: true, log: () => undefined });
  expect(new Set(rows.map(({ unit }) => unit))).toEqual(new Set(['ms', 'entries', 'entries/s']));
  expect(rows.every(({ ours }) => Number.isFinite(ours))).toBe(true);
});
