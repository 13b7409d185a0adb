// SPDX-License-Identifier: Apache-2.0
// Brings a fresh machine to the point where the product runs, then hands over. Runs before node_modules exists,
// under whatever Node (20+) is installed, so it imports nothing but Node itself.
//   node tools/setup/main.mjs [--then start|stop|test|bench|fuzz|mutants|build] [arguments for it]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { installDebianPackages } from './debian.mjs';
import { installKubernetesTools, toolsDirectory } from './kubernetes-tools.mjs';
import { installNpmPackages, pinnedNode } from './npm.mjs';
import { fail, root, step } from './progress.mjs';

const COMMANDS = {
  build: [],
  start: ['dist/apps/sandbox.cjs', 'start'],
  stop: ['dist/apps/sandbox.cjs', 'stop'],
  test: ['tools/setup/test.mjs'],
  bench: [
    '--conditions=@cilium-ts/source',
    '--disable-warning=ExperimentalWarning',
    'tools/bench/src/main.ts',
  ],
  fuzz: ['--conditions=@cilium-ts/source', '--disable-warning=ExperimentalWarning', 'tools/fuzz/src/main.ts'],
  mutants: [
    '--conditions=@cilium-ts/source',
    '--disable-warning=ExperimentalWarning',
    'tools/mutants/src/main.ts',
  ],
};

const [flag, command, ...rest] = process.argv.slice(2);
if (flag !== undefined && (flag !== '--then' || !(command in COMMANDS))) {
  fail(
    `unknown arguments: ${process.argv.slice(2).join(' ')}; allowed: --then ${Object.keys(COMMANDS).join('|')}`,
  );
}
if (process.platform !== 'linux') fail(`this needs Linux, not ${process.platform}`);
if (Number(process.versions.node.split('.')[0]) < 20)
  fail(`this needs Node 20 or newer, not ${process.version}`);

process.chdir(root);
process.env.PATH = `${path.join(root, 'node_modules/.bin')}:${toolsDirectory}:${process.env.PATH}`;
process.env.NX_DAEMON = 'false';
process.env.NX_CACHE_DIRECTORY = path.join(root, '.nx/cache');

if (command !== 'stop' || !existsSync(path.join(root, 'dist/apps/sandbox.cjs'))) {
  step('Debian packages', installDebianPackages);
  step('npm packages', installNpmPackages);
  step('kubectl and helm', installKubernetesTools);
  step('build', () => run(pinnedNode(), ['tools/build/main.mjs']));
}

if (command && COMMANDS[command].length > 0) {
  // Ctrl-C goes to the whole group: the command ends in its own time, and this process with it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
  const child = spawn(pinnedNode(), [...COMMANDS[command], ...rest], { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}

function run(program, args) {
  const result = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.status !== 0)
    fail(`${path.basename(program)} ${args.join(' ')} failed (${result.status ?? result.signal})`);
}
