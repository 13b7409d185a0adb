// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import { RUN_VARIABLE } from './test-run.ts';

/** Open descriptors and threads of this process, for leak tests. */
export function processResources(): { fds: number; threads: number } {
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
  };
}

/** A name no other test uses, short enough for a network device; should the run be killed, the next one finds it. */
export function uniqueName(suffix: string): string {
  sequence += 1;
  const run = process.env[RUN_VARIABLE];
  const prefix = run === undefined ? `ctst-${process.pid.toString(36)}` : `ctst-r${run}-`;
  return `${prefix}${run === undefined ? '' : workerLetter()}${sequence.toString(36)}${suffix}`;
}

function workerLetter(): string {
  return (Number(process.env['JEST_WORKER_ID'] ?? 1) % 36).toString(36);
}

let sequence = 0;
