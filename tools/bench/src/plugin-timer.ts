// SPDX-License-Identifier: Apache-2.0
// Times the CNI plugin of a sandbox node as its container runtime runs it: a small program takes the plugin's place, runs
// it and writes down how long it took.
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LOAD_TOOLS } from './tcp-load.ts';

const NODES = '/var/lib/cilium-ts/sandbox/nodes';

/** Durations of the ADD calls for pods of a namespace, by pod name, in milliseconds. */
export function pluginDurations(times: string, namespace: string): Map<string, number> {
  const durations = new Map<string, number>();
  for (const line of times.split('\n')) {
    const [ms, command, args = ''] = line.split(' ');
    if (command !== 'ADD' || !args.includes(`K8S_POD_NAMESPACE=${namespace};`)) continue;
    const pod = /(?:^|;)K8S_POD_NAME=([^;]*)/.exec(args)?.[1];
    if (pod !== undefined) durations.set(pod, Number(ms));
  }
  return durations;
}

/** Runs `use` with the plugin of a node timed; the plugin is put back afterwards. */
export async function withTimedPlugin<T>(
  node: string,
  use: (durations: (namespace: string) => Map<string, number>) => Promise<T>,
): Promise<T> {
  const plugin = join(NODES, node, 'opt-cni', 'bin', 'cilium-cni');
  if (!existsSync(plugin)) throw new Error(`no CNI plugin at ${plugin}`);
  const [real, times] = [`${plugin}.real`, `${plugin}.times`];
  // A run that was killed has left its own in place: the real one is the one set aside.
  if (!existsSync(real)) copyFileSync(plugin, real);
  copyFileSync(join(LOAD_TOOLS, 'cnitime'), `${plugin}.tmp`);
  renameSync(`${plugin}.tmp`, plugin);
  try {
    return await use((namespace) =>
      pluginDurations(existsSync(times) ? readFileSync(times, 'utf8') : '', namespace),
    );
  } finally {
    renameSync(real, plugin);
    rmSync(times, { force: true });
  }
}
