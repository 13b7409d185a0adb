// SPDX-License-Identifier: Apache-2.0
import { fuzzKernel, fuzzModel } from './differential.ts';
import { COMPILED_FEATURES } from './generate.ts';
import { KernelBed } from './kernel.ts';

const CASES = 256;
const FLOWS = 100;
/** Cases of each round that are asked every question of the universe, by the model of the lookup. */
const MODEL_CASES = 16;

export interface LongRun {
  readonly seed: number;
  /** Milliseconds since the start. */
  elapsed(): number;
  readonly milliseconds: number;
  log(line: string): void;
}

/** Runs rounds of fresh seeds until the time is over or something fails; true where nothing did. */
export async function fuzzPolicy({ seed, elapsed, milliseconds, log }: LongRun): Promise<boolean> {
  const beds = { letIn: await KernelBed.open(true), asked: await KernelBed.open(false) };
  let next = seed;
  let told = 0;
  try {
    while (elapsed() < milliseconds) {
      const run = { firstSeed: next, cases: CASES, flowsEach: FLOWS, features: COMPILED_FEATURES };
      const reports = await fuzzKernel(beds, run);
      for (let i = 0; i < MODEL_CASES; i++) {
        const report = await fuzzModel(next + i, COMPILED_FEATURES);
        if (report !== undefined) reports.push(report);
      }
      next += CASES;
      if (reports.length > 0) {
        reports.forEach((report) => log(`DISAGREEMENT\n${report}`));
        return false;
      }
      if (elapsed() - told < 10_000) continue;
      told = elapsed();
      log(progress(next - seed, told));
    }
    log(`${progress(next - seed, elapsed())}; no disagreement`);
    return true;
  } finally {
    beds.letIn.close();
    beds.asked.close();
  }
}

function progress(cases: number, milliseconds: number): string {
  return `${cases} rule sets, ${cases * FLOWS} flows through the programs in ${Math.round(milliseconds / 1000)} s`;
}
