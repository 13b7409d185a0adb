// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Variable by which the processes of a run know its name. */
export const RUN_VARIABLE = 'CTST_RUN';
const NETNS_DIR = '/run/netns';
const NAME = /^ctst-r([0-9a-z]+)-/;
const KILL_TIMEOUT_MS = 10_000;

/**
 * A run of kernel tests. What its tests make on the machine begins with `ctst-r<run>-`, and the run holds a socket of
 * that name while it lives: what is left of a run that was killed is found, and removed, by the next one.
 */
export class TestRun {
  readonly name: string;
  readonly #held: Server;

  private constructor(name: string, held: Server) {
    this.name = name;
    this.#held = held;
  }

  static async start(): Promise<TestRun> {
    const pid = process.pid.toString(36);
    // Another process namespace may have the same number, on the same machine.
    for (let i = 0; ; i++) {
      const name = i === 0 ? pid : `${pid}${i.toString(36)}`;
      const held = await hold(name);
      if (!held) continue;
      process.env[RUN_VARIABLE] = name;
      await removeAbandonedRuns();
      if (!mountPoints().includes(NETNS_DIR)) writeFileSync(netnsMark(name), '');
      return new TestRun(name, held);
    }
  }

  /** Takes away what no single test owns, and the name. */
  async end(): Promise<void> {
    removeNetnsDir(this.name);
    await new Promise((resolve) => this.#held.close(resolve));
  }
}

function hold(name: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.on('error', () => undefined).end()).unref();
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen({ path: `\0ctst-r${name}` }, () => resolve(server));
  });
}

function isHeld(name: string): Promise<boolean> {
  const socket = connect({ path: `\0ctst-r${name}` });
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Removes processes, cgroups, mounts, network namespaces and folders of every run that has ended. */
export async function removeAbandonedRuns(): Promise<void> {
  const processes = processRuns();
  const found = [NETNS_DIR, '/var/lib/cilium-ts', tmpdir(), ...cgroupMounts()].flatMap(namesIn);
  const runs = new Set([...processes.values(), ...found.map((path) => NAME.exec(basename(path))![1]!)]);
  for (const run of runs) {
    if (await isHeld(run)) continue;
    for (const [pid, of] of processes) if (of === run) kill(pid);
    const mark = netnsMark(run);
    const own = found.filter((path) => basename(path).startsWith(`ctst-r${run}-`) && path !== mark);
    const points = mountPoints();
    // A cgroup file system that a test mounted for itself is a mount, not a cgroup of the run.
    const groups = own.filter((path) => existsSync(`${path}/cgroup.procs`) && !points.includes(path));
    // One group may be seen through several mounts.
    for (const path of groups) if (existsSync(path)) await removeCgroup(path);
    const below = points.filter((point) => own.some((path) => `${point}/`.startsWith(`${path}/`)));
    for (const point of below.reverse()) execFileSync('umount', ['-l', point]);
    for (const path of own) remove(path);
    removeNetnsDir(run);
  }
}

function remove(path: string): void {
  // Deleting through a live mount would delete what is mounted there.
  if (mountPoints().some((point) => `${point}/`.startsWith(`${path}/`)))
    throw new Error(`${path} stays mounted`);
  rmSync(path, { recursive: true, force: true });
}

function namesIn(folder: string): string[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.filter((name) => NAME.test(name)).map((name) => join(folder, name));
}

/** Which run each process of any run belongs to, by its environment. */
function processRuns(): Map<number, string> {
  const runs = new Map<number, string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const variable = readProcess(`/proc/${pid}/environ`)
      .split('\0')
      .find((one) => one.startsWith(`${RUN_VARIABLE}=`));
    if (variable) runs.set(Number(pid), variable.slice(RUN_VARIABLE.length + 1));
  }
  return runs;
}

function readProcess(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

async function removeCgroup(dir: string): Promise<void> {
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  writeFileSync(`${dir}/cgroup.kill`, '1');
  while (readFileSync(`${dir}/cgroup.events`, 'utf8').includes('populated 1')) {
    if (performance.now() > deadline) throw new Error(`processes in ${dir} do not end`);
    await delay(10);
  }
  removeEmptyCgroups(dir);
}

function removeEmptyCgroups(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmptyCgroups(join(dir, entry.name));
  rmdirSync(dir);
}

function netnsMark(run: string): string {
  return join(tmpdir(), `ctst-r${run}-made-run-netns`);
}

/** Unmounts /run/netns where this run was the first to need it and nobody uses it now. */
function removeNetnsDir(run: string): void {
  if (!existsSync(netnsMark(run))) return;
  const isFree = existsSync(NETNS_DIR) && readdirSync(NETNS_DIR).length === 0;
  // Not lazily: a namespace that another process pins at this moment keeps the mount.
  if (isFree && mountPoints().includes(NETNS_DIR)) execFileSync('umount', [NETNS_DIR]);
  rmSync(netnsMark(run));
}

function cgroupMounts(): string[] {
  return mountLines()
    .filter((line) => line.includes(' - cgroup2 '))
    .map(pointOf);
}

function mountPoints(): string[] {
  return mountLines().map(pointOf);
}

function mountLines(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter(Boolean);
}

function pointOf(line: string): string {
  const escaped = line.split(' ')[4] ?? '';
  return escaped.replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)));
}
