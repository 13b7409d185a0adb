// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { isSystemError, type Native } from '@cilium-ts/native';

/** Where `ip netns` keeps its namespaces. */
export const NETNS_DIRECTORY = '/run/netns';

export function netnsPath(name: string): string {
  return `${NETNS_DIRECTORY}/${name}`;
}

const MS_BIND = 0x1000;
const MS_SHARED = 0x100000;
const MS_REC = 0x4000;

// Mounts below must reach other mount namespaces, or a deleted namespace would stay alive in them.
function prepareDirectory(native: Native): void {
  mkdirSync(NETNS_DIRECTORY, { recursive: true });
  const share = (): void =>
    native.mount({ source: 'none', target: NETNS_DIRECTORY, type: 'none', flags: MS_SHARED | MS_REC });
  try {
    share();
  } catch (error) {
    if (!isSystemError(error, 'EINVAL')) throw error;
    native.mount({ source: NETNS_DIRECTORY, target: NETNS_DIRECTORY, type: 'none', flags: MS_BIND | MS_REC });
    share();
  }
}

/**
 * Creates `/run/netns/<name>` as `ip netns add` does, loopback up; returns its path.
 * @throws SystemError EEXIST
 */
export async function createNetns(native: Native, name: string): Promise<string> {
  prepareDirectory(native);
  const path = netnsPath(name);
  await native.netnsCreateAsync({ path });
  return path;
}

/** Deletes a namespace; one that is not there is as good. Devices in it go once nothing else holds it. */
export async function deleteNetns(native: Native, name: string): Promise<void> {
  try {
    await native.netnsDeleteAsync({ path: netnsPath(name) });
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
}

export function listNetns(): string[] {
  return existsSync(NETNS_DIRECTORY) ? readdirSync(NETNS_DIRECTORY) : [];
}

/** Opens a namespace for the time of `use`, for requests that name it by descriptor. */
export async function withNetnsFd<T>(
  native: Native,
  path: string,
  use: (fd: number) => Promise<T>,
): Promise<T> {
  const fd = native.fdOpen({ path });
  try {
    return await use(fd);
  } finally {
    native.fdClose({ fd });
  }
}
