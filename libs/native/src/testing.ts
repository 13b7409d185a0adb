// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';

/** Open descriptors and threads of this process, for leak tests. */
export function processResources(): { fds: number; threads: number } {
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
  };
}

/** A name no other test run uses, short enough for a network device. */
export function uniqueName(suffix: string): string {
  sequence += 1;
  return `ctst-${process.pid.toString(36)}${sequence.toString(36)}${suffix}`;
}

let sequence = 0;
