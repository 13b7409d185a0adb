// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A fault: one text of one file replaced by another. */
export interface Mutant {
  /** What breaks, in a few words; the name to ask for it by. */
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** @throws Error where the text to find is not there exactly once */
export function applied(root: string, { name, file, find, replace }: Mutant): string {
  const text = readFileSync(join(root, file), 'utf8');
  const parts = text.split(find);
  if (parts.length !== 2)
    throw new Error(`${name}: ${JSON.stringify(find)} stands ${parts.length - 1} times in ${file}, not once`);
  return parts.join(replace);
}
