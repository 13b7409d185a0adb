// SPDX-License-Identifier: Apache-2.0
import { mkdir } from 'node:fs/promises';
import type { Runtime } from '../runtime/runtime.ts';
import type { SandboxLayout } from './layout.ts';
import { nodeNetns } from './network.ts';
import type { NodePlan } from './plan.ts';

/** A node that stands: its namespaces are held by process `pid`. */
export interface SandboxNode {
  readonly plan: NodePlan;
  readonly name: string;
  readonly pid: number;
  readonly netns: string;
  /** Path of the pinned network namespace. */
  readonly netnsPath: string;
  readonly cgroup: string;
  readonly dir: string;
  /** The node's /run, /etc/cni and so on, as seen from the machine. */
  readonly folders: { readonly run: string; readonly cniConf: string; readonly cniBin: string };
}

/** Folders that are a node's own although the machine's file system lies below everything else. */
function foldersOf(dir: string): { source: string; target: string }[] {
  return [
    { source: `${dir}/run`, target: '/run' },
    { source: '/run/netns', target: '/run/netns' },
    { source: `${dir}/etc-cni`, target: '/etc/cni' },
    { source: `${dir}/opt-cni`, target: '/opt/cni' },
    { source: `${dir}/var-lib-cilium`, target: '/var/lib/cilium' },
  ];
}

/** @throws AppError `runtime` */
export async function createNode(
  runtime: Runtime,
  layout: SandboxLayout,
  cgroupRoot: string,
  plan: NodePlan,
): Promise<SandboxNode> {
  const dir = `${layout.stateDir}/nodes/${plan.name}`;
  const cgroup = `${cgroupRoot}/${plan.name}`;
  const binds = foldersOf(dir);
  await Promise.all([
    ...['run/netns', 'run/cilium/cgroupv2', 'etc-cni/net.d', 'opt-cni/bin', 'var-lib-cilium', 'pods'].map(
      (name) => mkdir(`${dir}/${name}`, { recursive: true }),
    ),
    mkdir(`${cgroup}/pods`, { recursive: true }),
  ]);
  binds.push({ source: cgroup, target: '/run/cilium/cgroupv2' });
  const netns = nodeNetns(layout, plan);
  const pid = await runtime.createNode({ name: plan.name, netns, dir: `${dir}/rootfs`, cgroup, binds });
  return {
    plan,
    name: plan.name,
    pid,
    netns,
    netnsPath: `/run/netns/${netns}`,
    cgroup,
    dir,
    folders: { run: `${dir}/run`, cniConf: `${dir}/etc-cni/net.d`, cniBin: `${dir}/opt-cni/bin` },
  };
}
