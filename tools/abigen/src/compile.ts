// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const CLANGS = ['clang-19', 'clang'];

/** The compiler, or undefined where none is installed. */
export function findClang(): string | undefined {
  return CLANGS.find((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

/** Which structs and enums the shared headers declare, in source order, by header. */
export interface Declarations {
  structs: string[];
  enums: string[];
}

const HEADER_FOLDERS = ['abi', 'config', 'maps'];
/** Written by abigen itself, or no contract: not part of the layout. */
const SKIPPED = new Set(['layout_hash.h', 'config.h']);

function headers(bpfDir: string): string[] {
  return HEADER_FOLDERS.flatMap((folder) =>
    readdirSync(join(bpfDir, folder))
      .filter((name) => name.endsWith('.h') && !SKIPPED.has(name))
      .sort()
      .map((name) => join(bpfDir, folder, name)),
  );
}

/** Headers that declare shared types, relative to the bpf folder. */
export function contractHeaders(bpfDir: string): string[] {
  return headers(bpfDir)
    .map((path) => path.slice(join(bpfDir, '/').length))
    .filter((path) => !path.startsWith('maps/'));
}

export function readDeclarations(bpfDir: string): Declarations {
  const structs: string[] = [];
  const enums: string[] = [];
  for (const path of headers(bpfDir)) {
    if (path.startsWith(join(bpfDir, 'maps'))) continue;
    for (const match of readFileSync(path, 'utf8').matchAll(/^(struct|enum) (\w+) \{/gm)) {
      (match[1] === 'struct' ? structs : enums).push(match[2]!);
    }
  }
  return { structs, enums };
}

/**
 * Compiles all shared headers to one BPF object with debug information and gives its bytes.
 * Each declared type becomes a variable: the compiler writes BTF only for what is used.
 * @throws Error with the compiler's words
 */
export function compileLayout(clang: string, bpfDir: string, declarations: Declarations): Uint8Array {
  const work = mkdtempSync(join(tmpdir(), 'abigen-'));
  try {
    const source = join(work, 'layout.c');
    const object = join(work, 'layout.o');
    writeFileSync(source, layoutSource(bpfDir, declarations));
    const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64' | 'arm64'] ?? process.arch;
    execFileSync(
      clang,
      [
        '-O2',
        '-g',
        '-target',
        'bpf',
        '-mcpu=v3',
        `-I/usr/include/${machine}-linux-gnu`,
        '-c',
        source,
        '-o',
        object,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' },
    );
    return readFileSync(object);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function layoutSource(bpfDir: string, declarations: Declarations): string {
  return [
    '#include <linux/types.h>',
    '#include <linux/bpf.h>',
    '#include <bpf/bpf_helpers.h>',
    ...headers(resolve(bpfDir)).map((path) => `#include "${path}"`),
    ...declarations.structs.map((name) => `struct ${name} layout_struct_${name};`),
    ...declarations.enums.map((name) => `enum ${name} layout_enum_${name};`),
    '',
  ].join('\n');
}
