// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { format } from 'prettier';
import { emitFiles, emitHashHeader, emitIndex, emitLayoutCheck } from './emit.ts';
import { contractHeaders } from './compile.ts';
import { layoutHash, lockText } from './layout.ts';
import { readLayout } from './read-layout.ts';

/** All generated files, path relative to the repository root -> text. */
export async function generate(clang: string, bpfDir: string): Promise<Map<string, string>> {
  const layout = readLayout(clang, bpfDir);
  const lock = lockText(layout);
  const hash = layoutHash(lock);
  const files = new Map<string, string>();
  const pretty = (text: string): Promise<string> =>
    format(text, { parser: 'typescript', singleQuote: true, printWidth: 110 });
  for (const [name, text] of emitFiles(layout, hash)) {
    files.set(join('libs/abi/src/generated', name), await pretty(text));
  }
  files.set('libs/abi/src/index.ts', await pretty(emitIndex(layout)));
  files.set('libs/abi/layout.lock', lock);
  files.set('bpf/config/layout_hash.h', emitHashHeader(hash));
  files.set('bpf/tests/layout_check.c', emitLayoutCheck(layout, contractHeaders(bpfDir)));
  return files;
}
