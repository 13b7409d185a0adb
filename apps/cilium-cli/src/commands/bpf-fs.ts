// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { AppError } from '@cilium-ts/base';
import { printTable, printValue, type OutputOptions } from '../print.ts';

export interface MountInfo {
  readonly MountID: number;
  readonly ParentID: number;
  readonly StDev: string;
  readonly Root: string;
  readonly MountPoint: string;
  readonly MountOptions: string;
  readonly OptionalFields: readonly string[];
  readonly FilesystemType: string;
  readonly MountSource: string;
  readonly SuperOptions: string;
}

/** The first mount of type bpf in the text of /proc/self/mountinfo. */
export function findBpfMount(text: string): MountInfo | undefined {
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-');
    if (dash < 0 || fields[dash + 1] !== 'bpf') continue;
    const [id, parent, device, root, point, options] = fields;
    return {
      MountID: Number(id),
      ParentID: Number(parent),
      StDev: device!,
      Root: root!,
      MountPoint: point!,
      MountOptions: options!,
      OptionalFields: fields.slice(6, dash),
      FilesystemType: 'bpf',
      MountSource: fields[dash + 2] ?? '',
      SuperOptions: fields[dash + 3] ?? '',
    };
  }
  return undefined;
}

export async function show(options: OutputOptions): Promise<void> {
  const mount = findBpfMount(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (!mount) throw new AppError('no-bpffs', 'no BPF file system is mounted here');
  if (await printValue(mount, options)) return;
  printTable([
    ['MountID:', String(mount.MountID)],
    ['ParentID:', String(mount.ParentID)],
    ['Mounted State:', 'true'],
    ['MountPoint:', mount.MountPoint],
    ['MountOptions:', mount.MountOptions],
    ['OptionFields:', `[${mount.OptionalFields.join(' ')}]`],
    ['FilesystemType:', mount.FilesystemType],
    ['MountSource:', mount.MountSource],
    ['SuperOptions:', mount.SuperOptions],
  ]);
}
