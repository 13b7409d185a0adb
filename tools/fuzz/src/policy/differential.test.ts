// SPDX-License-Identifier: Apache-2.0
// Tested: compiled rule sets, and the tools that find and shrink a disagreement. How: random API objects through the
// compiler's own feed, questions from a small universe, against the specification.
import { expect, test } from '@jest/globals';
import { Random } from '../random.ts';
import { shrink } from '../shrink.ts';
import { fuzzModel, modelDisagreements } from './differential.ts';
import { COMPILED_FEATURES, policyCase } from './generate.ts';
import { someProbes } from './probe.ts';
import { REGRESSIONS } from './regressions.ts';

const SEEDS = 250;
const PROBES = 800;

test('compiled rule sets decide every flow as the specification does, and name the same policies', async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const probes = someProbes(new Random(seed), PROBES);
    expect(await fuzzModel(seed, COMPILED_FEATURES, probes)).toBeUndefined();
  }
});

test.each(REGRESSIONS)('%s: no more', (_, each) => expect(modelDisagreements(each)).toEqual([]));

test('equal seeds give equal cases, others give others', () => {
  const make = (seed: number): string => JSON.stringify(policyCase(new Random(seed), COMPILED_FEATURES));
  expect(make(7)).toBe(make(7));
  expect(new Set([1, 2, 3, 4].map(make)).size).toBe(4);
});

test('shrinking leaves only what makes it fail', async () => {
  const fails = ({ list }: { list?: number[]; more?: unknown }): boolean => (list ?? []).includes(3);
  expect(await shrink({ list: [1, 2, 3, 4], more: { deep: [1] } }, fails)).toEqual({ list: [3] });
});
