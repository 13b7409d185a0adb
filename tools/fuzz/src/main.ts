// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import { parseCommand, USAGE, type FuzzOptions } from './command.ts';
import { fuzzPolicy } from './policy/long-run.ts';

async function main(args: readonly string[]): Promise<number> {
  let options: FuzzOptions;
  try {
    options = parseCommand(args, ['policy'], Date.now() % 1_000_000_000);
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  console.log(`seed ${options.seed}`);
  const start = performance.now();
  const passed = await fuzzPolicy({
    seed: options.seed,
    elapsed: () => performance.now() - start,
    milliseconds: options.minutes * 60_000,
    log: (line) => console.log(line),
  });
  return passed ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(errorMessage(error));
  process.exitCode = 1;
}
