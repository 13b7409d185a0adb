// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { format } from 'prettier';
import { parseBtf } from './btf.ts';
import { compileLayout, readDeclarations } from './compile.ts';
import { elfSection } from './elf.ts';
import { emitFiles, emitHashHeader, emitIndex } from './emit.ts';
import { buildLayout, layoutHash, lockText, type Layout } from './layout.ts';

/** @throws Error with the compiler's words, or naming the member that has no TypeScript form */
export function readLayout(clang: string, bpfDir: string): Layout {
  const declarations = readDeclarations(bpfDir);
  const object = compileLayout(clang, bpfDir, declarations);
  return buildLayout(parseBtf(elfSection(object, '.BTF')), declarations);
}

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
  return files;
}
