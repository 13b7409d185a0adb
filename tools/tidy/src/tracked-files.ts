// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { SourceFile } from './house.ts';

/** Every file of ours that git knows or would add, with its text. */
export function trackedFiles(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return listed
    .split('\0')
    .filter((file) => /\.(ts|mjs|c|h|sh)$/.test(file) && !file.includes('/fixtures/') && existsSync(file))
    .map((file) => ({ file, text: readFileSync(file, 'utf8') }));
}
