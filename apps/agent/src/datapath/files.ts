// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { AppError } from '@cilium-ts/base';

/** Folder of the compiled objects: configuration, environment, beside the program, the image's place, the build's. */
export function findObjectDirectory(configured: string): string {
  const script = process.argv[1];
  const places = [
    configured,
    process.env['CILIUM_TS_BPF'] ?? '',
    script ? join(dirname(resolve(script)), '..', 'bpf') : '',
    '/usr/lib/cilium-ts/bpf',
    join(process.cwd(), 'dist', 'bpf'),
  ].filter((place) => place !== '');
  const explicit = configured !== '' ? places.slice(0, 1) : places;
  const found = explicit.find((place) => existsSync(join(place, 'bpf_lxc.o')));
  if (found !== undefined) return found;
  throw new AppError(
    'no-bpf-objects',
    `no bpf_lxc.o in ${explicit.join(', ')}: build it, or set bpf-object-dir`,
  );
}
