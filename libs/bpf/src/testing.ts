// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Native } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';
import { ensureBpffs } from './filesystem.ts';

/** Compiles a BPF C file to an object in a fresh directory; `remove` deletes both. */
export function compileBpf(source: string): { path: string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), `${uniqueName('bpf')}-`));
  const path = join(directory, basename(source).replace(/(\.bpf)?\.c$/, '.o'));
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  execFileSync('clang-19', ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', include, '-c', source, '-o', path], {
    stdio: 'pipe',
  });
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** A bpffs of its own in a fresh directory; `remove` unmounts it, and pins in it go with it. */
export function temporaryBpffs(native: Native): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `${uniqueName('bpffs')}-`));
  ensureBpffs(native, path);
  return {
    path,
    remove: () => {
      native.umount({ target: path });
      rmdirSync(path);
    },
  };
}
