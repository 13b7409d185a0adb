// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import type { SourceFile } from './house.ts';

/**
 * Every source file of ours with its text: all below the repository's root that no folder of `.gitignore` holds. Walks
 * by itself, since a machine that builds a source archive may have no git.
 */
export function trackedFiles(): SourceFile[] {
  const ignored = readFileSync('.gitignore', 'utf8')
    .split('\n')
    .filter((line) => /^[^*/!#]+\/$/.test(line));
  const skip = new Set(['.git', 'fixtures', ...ignored.map((line) => line.slice(0, -1))]);
  return [...filesBelow('', skip)]
    .filter((file) => /\.(ts|mjs|c|h|sh)$/.test(file))
    .map((file) => ({ file, text: readFileSync(file, 'utf8') }));
}

function* filesBelow(folder: string, skip: ReadonlySet<string>): Generator<string> {
  for (const entry of readdirSync(folder || '.', { withFileTypes: true })) {
    const path = folder + entry.name;
    if (entry.isFile()) yield path;
    else if (entry.isDirectory() && !skip.has(entry.name)) yield* filesBelow(`${path}/`, skip);
  }
}
