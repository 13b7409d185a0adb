// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fail } from './progress.mjs';

// Package -> why. Nothing else is installed into the machine.
const PACKAGES = {
  'clang-19': 'BPF objects',
  'llvm-19': 'stripping of BPF objects',
  bpftool: 'vmlinux.h',
  gcc: 'native add-on, CNI binary',
  'libc6-dev': 'the same',
  make: 'the same',
  'libbpf-dev': 'loading of BPF objects',
  'libelf-dev': 'the same',
  'zlib1g-dev': 'the same',
  'nats-server': 'message bus of the cluster',
  iproute2: 'wire and nodes of the sandbox',
  mount: 'taking down what the sandbox mounted',
  'iputils-ping': 'people who look around in the namespaces',
  procps: 'the same',
  curl: 'clients of the demo',
  jq: 'reading JSON output',
  unzip: 'kubectl and helm',
  'ca-certificates': 'npm',
};

export function installDebianPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return undefined;
  if (process.getuid() !== 0) fail(`not root: cannot install ${missing.join(' ')}; run as root`);
  if (!existsSync('/usr/bin/apt-get'))
    fail(`no apt-get: install ${missing.join(' ')} yourself (Debian 12 is supported)`);
  apt(['update', '-qq']);
  apt(['install', '-y', '-qq', '--no-install-recommends', ...missing]);
  const still = missingPackages();
  if (still.length > 0) fail(`apt-get did not install ${still.join(' ')}`);
  return `installed ${missing.join(' ')}`;
}

function missingPackages() {
  const installed = new Set();
  let name = '';
  for (const line of readFileSync('/var/lib/dpkg/status', 'utf8').split('\n')) {
    if (line.startsWith('Package: ')) name = line.slice(9);
    else if (line === 'Status: install ok installed') installed.add(name);
  }
  return Object.keys(PACKAGES).filter((name) => !installed.has(name) && !onPathAnyway(name));
}

/** Tools that need no package when the machine has them from elsewhere. */
function onPathAnyway(name) {
  if (!['curl', 'jq', 'unzip', 'nats-server', 'bpftool'].includes(name)) return false;
  return (process.env.PATH ?? '').split(':').some((dir) => dir !== '' && existsSync(`${dir}/${name}`));
}

function apt(args) {
  const result = spawnSync('apt-get', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (result.status !== 0)
    fail(`apt-get ${args[0]} failed:\n${(result.stdout + result.stderr).split('\n').slice(-15).join('\n')}`);
}
