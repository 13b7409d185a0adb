// SPDX-License-Identifier: Apache-2.0
// Tested: which packets the real programs let pass under random policy objects, and whom their events blame.
// How: compiled rule sets in the programs' maps, packets by BPF_PROG_TEST_RUN, answers against the specification.
// Needs root and the BPF objects in dist/bpf.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fuzzKernel, kernelDisagreements, prepare } from './differential.ts';
import { COMPILED_FEATURES } from './generate.ts';
import { KernelBed } from './kernel.ts';
import { kernelProbes } from './probe.ts';
import { REGRESSIONS } from './regressions.ts';

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

test.each(REGRESSIONS)('%s: no more', async (_, each) => {
  expect(await kernelDisagreements(each, beds.letIn, kernelProbes(each.setting))).toEqual([]);
});

test('law 7: in audit mode what was dropped passes and is told, and nothing else changes', async () => {
  const cases = Array.from({ length: 60 }, (_, index) => prepare(20_000 + index, 100, COMPILED_FEATURES));
  const trials = cases.filter(({ each }) => each.setting.allowLocalhost).map(({ trial }) => trial);
  const enforced = (await beds.letIn.answer(trials)).flat();
  const audited = (await beds.letIn.answer(trials, true)).flat();
  expect(audited).toEqual(
    enforced.map((answer) => (answer.verdict === 'allow' ? answer : { ...answer, verdict: 'audit' })),
  );
}, 60_000);
