// SPDX-License-Identifier: Apache-2.0
import { parseBtf } from './btf.ts';
import { compileLayout, readDeclarations } from './compile.ts';
import { elfSection } from './elf.ts';
import { buildLayout, type Layout } from './layout.ts';

/** @throws Error with the compiler's words, or naming the member that has no TypeScript form */
export function readLayout(clang: string, bpfDir: string): Layout {
  const declarations = readDeclarations(bpfDir);
  const object = compileLayout(clang, bpfDir, declarations);
  return buildLayout(parseBtf(elfSection(object, '.BTF')), declarations);
}
