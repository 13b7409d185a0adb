// SPDX-License-Identifier: Apache-2.0
import path from 'node:path';

export const root = path.resolve(
  import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname),
  '../..',
);

/** Runs one step of the set-up; says what it did only where it did something, and how long that took. */
export function step(name, act) {
  const start = Date.now();
  const did = act();
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  if (did || Date.now() - start > 1500)
    console.log(`set-up: ${name.padEnd(18)} ${did ?? 'done'} (${seconds} s)`);
}

export function fail(message) {
  console.error(`set-up: ${message}`);
  process.exit(1);
}
