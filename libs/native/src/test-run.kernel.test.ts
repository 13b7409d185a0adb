// SPDX-License-Identifier: Apache-2.0
// What a killed test run leaves is removed by the next one: a namespace, a cgroup with a process, a mount, a folder and
// a process outside of all of them are made under the name of a run that has ended, and of one that lives.
import { afterEach, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { loadNative } from './load.ts';
import { removeAbandonedRuns, RUN_VARIABLE } from './test-run.ts';

const native = loadNative();
const run = `${process.pid.toString(36)}zz`;
const folder = join(tmpdir(), `ctst-r${run}-folder`);
const netns = `/run/netns/ctst-r${run}-net`;
let processes: ChildProcess[] = [];

/** Running its program already: until then it still has this process's environment. */
async function sleeping(env: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore', env: { ...process.env, ...env } });
  processes.push(child);
  while (readFileSync(`/proc/${child.pid}/comm`, 'utf8') !== 'sleep\n') await delay(1);
  return child;
}

const ended = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve) => child.exitCode ?? child.signalCode ?? child.once('exit', resolve));

function cgroup(): string {
  const mount = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find((line) => line.split(' ')[2] === 'cgroup2');
  return join(mount!.split(' ')[1]!, `ctst-r${run}-group`);
}

async function leaveThings(): Promise<ChildProcess[]> {
  const grouped = await sleeping({ [RUN_VARIABLE]: '' });
  mkdirSync(join(cgroup(), 'below'), { recursive: true });
  writeFileSync(join(cgroup(), 'below/cgroup.procs'), String(grouped.pid));
  mkdirSync(join(folder, 'mount'), { recursive: true });
  native.mount({ source: 'none', target: join(folder, 'mount'), type: 'tmpfs', flags: 0 });
  mkdirSync('/run/netns', { recursive: true });
  await native.netnsCreateAsync({ path: netns });
  return [grouped, await sleeping({ [RUN_VARIABLE]: run })];
}

afterEach(async () => {
  for (const child of processes) child.kill('SIGKILL');
  processes = [];
  await removeAbandonedRuns();
});

it('removes everything of a run that has ended', async () => {
  const left = await leaveThings();
  await removeAbandonedRuns();
  await Promise.all(left.map(ended));
  for (const path of [folder, netns, cgroup()]) expect(existsSync(path)).toBe(false);
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`ctst-r${run}-`);
});

it('leaves alone what belongs to a run that lives', async () => {
  const held: Server = createServer().listen({ path: `\0ctst-r${run}` });
  await new Promise((resolve) => held.once('listening', resolve));
  const left = await leaveThings();
  await removeAbandonedRuns();
  expect(left.map((child) => child.exitCode ?? child.signalCode)).toEqual([null, null]);
  for (const path of [join(folder, 'mount'), netns, cgroup()]) expect(existsSync(path)).toBe(true);
  await new Promise((resolve) => held.close(resolve));
});
