// SPDX-License-Identifier: Apache-2.0
// Builds everything that runs into dist/: BPF objects, native parts, one bundle per app, image layers.
//   dist/bpf/*.o  dist/native/cilium_native.node  dist/bin/*  dist/apps/*.cjs  dist/images/<image>/...
import { spawn } from 'node:child_process';
import { bundleApps } from './bundles.mjs';
import { Fingerprints } from './fingerprints.mjs';
import { layImages } from './images.mjs';

const MAKE = [
  { name: 'BPF objects', directory: 'bpf', out: 'dist/bpf', inputs: ['bpf'] },
  { name: 'native add-on', directory: 'libs/native', out: 'dist/native', inputs: ['libs/native'] },
  { name: 'CNI binary', directory: 'apps/cni', out: 'dist/bin', inputs: ['apps/cni'] },
  {
    name: 'container runtime',
    directory: 'apps/sandbox/native',
    out: 'dist/bin',
    inputs: ['apps/sandbox/native'],
  },
  { name: 'demo server', directory: 'deploy/demo', out: 'dist/bin', inputs: ['deploy/demo'] },
];

const fingerprints = new Fingerprints('dist/.fingerprints.json');
const made = MAKE.filter((part) => fingerprints.changed(part.name, part.inputs, [part.out]));
const bundlesChanged = fingerprints.changed(
  'apps',
  ['apps', 'libs', 'tools/build', 'package-lock.json'],
  ['dist/apps/agent.cjs'],
);

await Promise.all([...made.map(make), bundlesChanged ? bundleApps() : undefined]);
if (made.length > 0 || bundlesChanged) layImages();
fingerprints.save();
if (made.length > 0 || bundlesChanged) {
  console.log(
    `set-up: built ${[...made.map(({ name }) => name), ...(bundlesChanged ? ['apps'] : [])].join(', ')}`,
  );
}

function make({ name, directory, out }) {
  return new Promise((resolve, reject) => {
    const child = spawn('make', ['-s', '-j2', '-C', directory, `OUT=${process.cwd()}/${out}`], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`${name}: make failed with ${code}`)),
    );
  });
}
