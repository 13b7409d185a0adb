// SPDX-License-Identifier: Apache-2.0
// Tested: every fault still applies to the sources. How: each in memory; whether the tests find it is `npm run mutants`' to say.
import { expect, test } from '@jest/globals';
import { applied } from './mutant.ts';
import { POLICY_MUTANTS } from './policy-mutants.ts';

test.each(POLICY_MUTANTS.map((mutant) => [mutant.name, mutant] as const))('%s', (_, mutant) => {
  expect(applied(process.cwd(), mutant)).toContain(mutant.replace);
});

test('names are told apart', () => {
  expect(new Set(POLICY_MUTANTS.map(({ name }) => name)).size).toBe(POLICY_MUTANTS.length);
});
