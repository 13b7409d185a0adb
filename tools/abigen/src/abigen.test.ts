// SPDX-License-Identifier: Apache-2.0
// Tested: the committed codecs are those of the C headers, and any change of a struct changes the layout hash.
// How: regenerates with the real compiler; changed copies of the headers. Skipped where clang is missing.
import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findClang } from './compile.ts';
import { layoutHash, lockText } from './layout.ts';
import { readLayout } from './read-layout.ts';

const clang = findClang();
const withClang = clang ? describe : describe.skip;
if (!clang) console.warn('abigen tests skipped: clang is not installed');

function hashWith(file: string, from: string, to: string): number {
  const copy = mkdtempSync(join(tmpdir(), 'abigen-test-'));
  try {
    cpSync('bpf', copy, { recursive: true });
    const path = join(copy, file);
    const text = readFileSync(path, 'utf8');
    expect(text).toContain(from);
    writeFileSync(path, text.replace(from, to));
    return layoutHash(lockText(readLayout(clang!, copy)));
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

withClang('abigen', () => {
  test('the generated files in the repository are up to date', () => {
    const node = join(process.cwd(), 'node_modules/.bin/node');
    const run = () =>
      execFileSync(node, ['--conditions=@cilium-ts/source', 'tools/abigen/src/main.ts', '--check'], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
    expect(run).not.toThrow();
  }, 30_000);

  test('the lock file is the layout of the headers', () => {
    expect(lockText(readLayout(clang!, 'bpf'))).toBe(readFileSync('libs/abi/layout.lock', 'utf8'));
  });

  test.each([
    ['a member that moves', 'abi/lb.h', '__u8 protocol;\n\t__u8 scope;', '__u8 scope;\n\t__u8 protocol;'],
    ['a member of another meaning', 'abi/lb.h', 'be16_t port;', '__u16 port;'],
    ['a member of another size', 'abi/runtime.h', '__u32 audit_mode;', '__u64 audit_mode;'],
    ['an enum value', 'abi/drop_reasons.h', 'DROP_PREFILTER = 240', 'DROP_PREFILTER = 239'],
    ['a map of another type', 'maps/nat.h', 'BPF_MAP_TYPE_LRU_HASH', 'BPF_MAP_TYPE_HASH'],
  ])('%s changes the hash', (_, file, from, to) => {
    const before = layoutHash(readFileSync('libs/abi/layout.lock', 'utf8'));
    expect(hashWith(file, from, to)).not.toBe(before);
  });

  test('a size alone does not: it is configuration', () => {
    const before = layoutHash(readFileSync('libs/abi/layout.lock', 'utf8'));
    expect(hashWith('maps/nat.h', 'max_entries, 65536', 'max_entries, 1024')).toBe(before);
  });

  test('a member without a TypeScript form is refused by name', () => {
    expect(() => hashWith('abi/runtime.h', '__u32 audit_mode;', 'int audit_mode;')).toThrow(
      'runtime_config.audit_mode',
    );
  });
});
