// SPDX-License-Identifier: Apache-2.0
import { normalize } from 'node:path';
import { ContainerConfigError } from './pod-facts.ts';
import type { VolumeSource } from './volume-source.ts';

/** Folders that every node has of its own. */
const NODE_FOLDERS = [
  '/var/run/cilium', '/run/cilium', '/var/lib/cilium', '/etc/cni', '/opt/cni', '/sys/fs/bpf', '/sys/fs/cgroup',
  '/run/netns', '/var/run/netns', '/proc/sys', '/lib/modules', '/run/xtables.lock',
]; // prettier-ignore

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}

/**
 * A node's own folder, or one of the machine that was allowed by `--host-path`.
 * @throws ContainerConfigError for any other
 */
export function hostPathSource(
  hostPath: { readonly path: string; readonly type?: string | undefined },
  allowed: readonly string[],
): VolumeSource {
  const path = normalize(hostPath.path).replace(/(.)\/$/, '$1');
  const create =
    hostPath.type === 'DirectoryOrCreate'
      ? 'dir-create'
      : hostPath.type === 'FileOrCreate'
        ? 'file-create'
        : undefined;
  if (NODE_FOLDERS.some((folder) => isBelow(path, folder)))
    return { where: 'node', path, readOnly: false, create };
  if (allowed.some((folder) => isBelow(path, normalize(folder)))) {
    return { where: 'machine', path, readOnly: false, create };
  }
  throw new ContainerConfigError(
    `hostPath ${path} is a folder of the machine, not of the node: start the sandbox with --host-path ${path} to allow it`,
  );
}
