// SPDX-License-Identifier: Apache-2.0
// Run from the repository root: node --conditions=@cilium-ts/source tools/abigen/src/main.ts [--check]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { findClang } from './compile.ts';
import { generate } from './generate.ts';

const clang = findClang();
if (!clang) {
  console.error('abigen: clang is not installed (Debian: apt-get install clang-19)');
  process.exit(1);
}
const check = process.argv.includes('--check');
let stale = 0;
for (const [path, text] of await generate(clang, 'bpf')) {
  if (readOrEmpty(path) === text) continue;
  stale++;
  if (check) {
    console.error(`abigen: ${path} does not match the C headers; run: node tools/abigen/src/main.ts`);
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`abigen: wrote ${path}`);
  }
}
process.exit(check && stale > 0 ? 1 : 0);

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
