// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { AppError, errorMessage } from '@cilium-ts/base';
import type { Native } from './native.ts';

export interface LoadNativeOptions {
  /** Only this file; otherwise the usual places are tried in order. */
  readonly path?: string;
}

const FILE = 'cilium_native.node';

function candidates(): string[] {
  const explicit = process.env['CILIUM_TS_NATIVE'];
  if (explicit) return [explicit];
  const script = process.argv[1];
  return [
    ...(script ? [join(dirname(resolve(script)), '..', 'native', FILE)] : []),
    `/usr/lib/cilium-ts/native/${FILE}`,
    join(process.cwd(), 'dist', 'native', FILE),
  ];
}

let loaded: Native | undefined;

/**
 * The add-on, loaded once per process.
 * @throws AppError `native-not-found` (names the files looked for), `native-unusable`
 */
export function loadNative(options: LoadNativeOptions = {}): Native {
  if (loaded && !options.path) return loaded;
  const files = options.path ? [options.path] : candidates();
  const file = files.find((candidate) => existsSync(candidate));
  if (!file) {
    throw new AppError(
      'native-not-found',
      `native add-on not found; looked for ${files.join(', ')}. Build it with: make -C libs/native OUT=$PWD/dist/native`,
    );
  }
  const holder = { exports: {} as Native };
  try {
    process.dlopen(holder, resolve(file));
  } catch (error) {
    throw new AppError('native-unusable', `cannot load ${file}: ${errorMessage(error)}`, { file }, error);
  }
  loaded = holder.exports;
  return loaded;
}
