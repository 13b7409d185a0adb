// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { release } from 'node:os';
import { AppError } from '@cilium-ts/base';
import { runTool } from './tools.ts';
import type { SandboxLayout } from './layout.ts';

/** What the checks look at; the machine's own by default, so that tests can show each refusal. */
export interface MachineFacts {
  readonly uid: number;
  readonly kernel: string;
  readonly hasBtf: boolean;
  /** Text of /proc/filesystems. */
  readonly filesystems: string;
  /** Text of /proc/self/mountinfo. */
  readonly mounts: string;
}

export function readMachine(): MachineFacts {
  return {
    uid: process.getuid?.() ?? -1,
    kernel: release(),
    hasBtf: existsSync('/sys/kernel/btf/vmlinux'),
    filesystems: readFileSync('/proc/filesystems', 'utf8'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
  };
}

/** The first thing that keeps the sandbox from running, as one line with what to do; undefined if all is well. */
export function machineProblem(facts: MachineFacts): string | undefined {
  if (facts.uid !== 0) return 'the sandbox makes network namespaces and loads BPF: run it as root';
  if (!facts.hasBtf) {
    return `kernel ${facts.kernel} has no BTF (/sys/kernel/btf/vmlinux): use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as Debian's are`;
  }
  const wanted = [
    ['bpf', 'bpffs', 'CONFIG_BPF_SYSCALL=y'],
    ['cgroup2', 'cgroup v2', 'CONFIG_CGROUPS=y and CONFIG_CGROUP_BPF=y'],
    ['overlay', 'overlayfs', 'CONFIG_OVERLAY_FS (try: modprobe overlay)'],
  ] as const;
  for (const [type, name, config] of wanted) {
    if (!new RegExp(`\\t${type}$`, 'm').test(facts.filesystems)) {
      return `kernel ${facts.kernel} lacks ${name}: use a kernel with ${config}`;
    }
  }
  // Neither mount propagation nor a switch of root works there, for `ip netns` as little as for us.
  if (!facts.mounts.split('\n').some((line) => line.split(' ')[4] === '/')) {
    return 'the root folder here is a plain folder of another root: mount it on itself (mount --rbind DIR DIR) before chroot';
  }
  return undefined;
}

/** @throws AppError `machine` */
export function checkMachine(): void {
  const facts = readMachine();
  const problem = machineProblem(facts);
  if (problem !== undefined) throw new AppError('machine', problem);
}

/** The machine's cgroup v2 mount; where there is none, one of our own below the state folder. */
export async function cgroupMount(layout: SandboxLayout): Promise<string> {
  const found = findCgroupMount(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (found !== undefined) return found;
  const own = `${layout.stateDir}/cgroup2`;
  await mkdir(own, { recursive: true });
  await runTool('mount', ['-t', 'cgroup2', 'cgroup2', own]);
  return own;
}

export function findCgroupMount(mountinfo: string): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-');
    if (dash > 0 && fields[dash + 1] === 'cgroup2' && fields[3] === '/') return fields[4];
  }
  return undefined;
}
