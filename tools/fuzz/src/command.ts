// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';

/** What to run, for how long, from where. */
export interface FuzzOptions {
  readonly target: string;
  readonly minutes: number;
  readonly seed: number;
}

export const USAGE = 'npm run fuzz -- policy [--minutes N] [--seed N]';
const MAX_SEED = 0xffffffff;

/** @throws Error naming what is wrong */
export function parseCommand(
  args: readonly string[],
  targets: readonly string[],
  defaultSeed: number,
): FuzzOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { minutes: { type: 'string' }, seed: { type: 'string' } },
  });
  const [target, ...more] = positionals;
  if (target === undefined || more.length > 0 || !targets.includes(target)) {
    throw new Error(
      `unknown target ${JSON.stringify(positionals.join(' '))}; allowed: ${targets.join(', ')}`,
    );
  }
  const minutes = Number(values.minutes ?? 10);
  if (!(minutes > 0 && minutes <= 10_000)) {
    throw new Error(`--minutes ${values.minutes}: a number above 0, at most 10000`);
  }
  const seed = Number(values.seed ?? defaultSeed);
  if (!Number.isInteger(seed) || seed < 0 || seed > MAX_SEED) {
    throw new Error(`--seed ${values.seed}: a whole number from 0 to ${MAX_SEED}`);
  }
  return { target, minutes, seed };
}
