// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync } from 'node:fs';
import { AppError, errorMessage } from '@cilium-ts/base';
import type { Native } from '@cilium-ts/native';

const MAGIC = { bpf: 0xcafe4a11, cgroup2: 0x63677270 } as const;

function isMounted(native: Native, path: string, magic: number): boolean {
  return existsSync(path) && native.filesystemMagic({ path }) === magic;
}

function ensure(native: Native, path: string, type: keyof typeof MAGIC): boolean {
  if (isMounted(native, path, MAGIC[type])) return false;
  try {
    mkdirSync(path, { recursive: true });
    native.mount({ source: 'none', target: path, type });
  } catch (error) {
    throw new AppError(
      `no-${type}fs`,
      `cannot mount ${type} on ${path}: ${errorMessage(error)}; it needs root and a kernel with ${type}`,
      { path },
      error,
    );
  }
  return true;
}

/** Makes sure that `path` lies in a bpffs, mounting one there; whether it mounted. @throws AppError `no-bpffs` */
export function ensureBpffs(native: Native, path: string): boolean {
  return ensure(native, path, 'bpf');
}

/** The same for cgroup v2. @throws AppError `no-cgroup2fs` */
export function ensureCgroup2(native: Native, path: string): boolean {
  return ensure(native, path, 'cgroup2');
}
