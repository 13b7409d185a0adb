// SPDX-License-Identifier: Apache-2.0
// Tested: which packets the real programs let pass under random policy objects, and whom their events blame.
// How: compiled rule sets in the programs' maps, packets by BPF_PROG_TEST_RUN, answers against the specification.
// Needs root and the BPF objects in dist/bpf.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fuzzKernel } from './differential.ts';
import { COMPILED_FEATURES } from './generate.ts';
import { KernelBed } from './kernel.ts';

const beds: { letIn: KernelBed; asked: KernelBed } = {} as never;

beforeAll(async () => {
  beds.letIn = await KernelBed.open(true);
  beds.asked = await KernelBed.open(false);
}, 60_000);
afterAll(() => {
  beds.letIn.close();
  beds.asked.close();
});

test('1,000 rule sets and 100,000 flows are decided as the specification says', async () => {
  const run = { firstSeed: 10_000, cases: 1000, flowsEach: 100, features: COMPILED_FEATURES };
  expect(await fuzzKernel(beds, run)).toEqual([]);
}, 300_000);
