// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile, rm, rmdir, unlink, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '@cilium-ts/base';
import type { SandboxLayout } from './layout.ts';
import { findCgroupMount } from './preflight.ts';
import { runTool } from './tools.ts';

const NETNS_DIR = '/run/netns';
/** Present while /run/netns is a mount that the sandbox made. */
const OWN_NETNS_MARK = 'made-run-netns';
const KILL_TIMEOUT_MS = 10_000;

/** Remembers, before anything is made, whether /run/netns has to go again. */
export async function markNetnsDir(layout: SandboxLayout): Promise<void> {
  const mounted = mountPoints().includes(NETNS_DIR);
  if (!mounted) await writeFile(`${layout.stateDir}/${OWN_NETNS_MARK}`, '');
}

/**
 * Removes everything that a sandbox of this layout made, however it ended: processes by their cgroup, network
 * namespaces by prefix, mounts and files below the state folder. Nothing else is touched.
 * @throws AppError `cleanup` naming what would not go
 */
export async function removeSandbox(layout: SandboxLayout): Promise<void> {
  const mount = findCgroupMount(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (mount !== undefined) await removeCgroup(`${mount}/${layout.cgroupName}`);
  const ownMark = existsSync(`${layout.stateDir}/${OWN_NETNS_MARK}`);
  await removeNetns(layout);
  if (ownMark) await removeNetnsDir();
  await removeMounts(layout.stateDir);
  await rm(layout.stateDir, { recursive: true, force: true, maxRetries: 3 });
  // The parent holds nothing else where no other sandbox uses it.
  await rmdir(layout.stateDir.slice(0, layout.stateDir.lastIndexOf('/'))).catch(() => undefined);
}

async function removeCgroup(dir: string): Promise<void> {
  // A process that was being started when the others were killed is seen by the next round.
  for (let round = 0; existsSync(dir); round++) {
    await killCgroup(dir);
    try {
      await removeTree(dir);
    } catch (error) {
      if (round === 10) throw error;
    }
  }
}

/** Kills every process below a cgroup and waits until it is empty. @throws AppError `cleanup` */
export async function killCgroup(dir: string): Promise<void> {
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    if (!existsSync(dir)) return;
    await writeFile(`${dir}/cgroup.kill`, '1').catch(() => undefined);
    const events = await readFile(`${dir}/cgroup.events`, 'utf8').catch(() => 'populated 0');
    if (events.includes('populated 0')) return;
    if (performance.now() > deadline) throw new AppError('cleanup', `processes in ${dir} do not end`);
    await delay(wait);
  }
}

async function removeTree(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(`${dir}/${entry.name}`);
  for (let attempt = 0; ; attempt++) {
    try {
      await rmdir(dir);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      if (attempt === 5)
        throw new AppError('cleanup', `cgroup ${dir} does not go: ${(error as Error).message}`);
      await delay(10);
    }
  }
}

/** Removes one cgroup whose processes have ended or shall end now. */
export async function dropCgroup(dir: string): Promise<void> {
  await removeCgroup(dir);
}

async function removeNetns(layout: SandboxLayout): Promise<void> {
  const names = (await readdir(NETNS_DIR).catch(() => [])).filter((name) => name.startsWith(layout.prefix));
  await Promise.all(names.map((name) => dropNetns(name)));
}

/** Removes the pin of a network namespace; the namespace ends with its last process. */
export async function dropNetns(name: string): Promise<void> {
  const path = `${NETNS_DIR}/${name}`;
  // Several mounts may lie on one another; a file that still carries one is busy.
  for (let mounts = 0; !(await unlinkUnlessBusy(path)); mounts++) {
    if (mounts === 10) throw new AppError('cleanup', `${path} stays busy`);
    await runTool('umount', ['-l', path]);
  }
}

async function unlinkUnlessBusy(path: string): Promise<boolean> {
  try {
    await unlink(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EBUSY') return false;
    if (code !== 'ENOENT') throw new AppError('cleanup', `${path}: ${message}`);
  }
  return true;
}

async function removeNetnsDir(): Promise<void> {
  const left = await readdir(NETNS_DIR).catch(() => []);
  if (left.length > 0) return;
  // Not lazily: a namespace that another program pins at this moment keeps the mount.
  if (mountPoints().includes(NETNS_DIR)) await runTool('umount', [NETNS_DIR]).catch(() => undefined);
  await rmdir(NETNS_DIR).catch(() => undefined);
}

function mountPoints(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8))),
    );
}

async function removeMounts(dir: string): Promise<void> {
  const below = mountPoints().filter((point) => point === dir || point.startsWith(`${dir}/`));
  for (const point of below.reverse()) await runTool('umount', ['-l', point]);
  // Deleting through a live mount would delete what is mounted there.
  if (mountPoints().some((point) => point.startsWith(`${dir}/`))) {
    throw new AppError('cleanup', `mounts below ${dir} do not go`);
  }
}
