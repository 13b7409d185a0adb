// SPDX-License-Identifier: Apache-2.0
// Puts the CNI binary and its configuration where the container runtime looks, once pods can be served.
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import type { AgentConfig } from '../config.ts';

function findBinary(configured: string): string {
  const script = process.argv[1];
  const places = [
    configured,
    script ? join(dirname(resolve(script)), '..', 'bin', 'cilium-cni') : '',
    '/usr/lib/cilium-ts/bin/cilium-cni',
    '/opt/cni/bin/cilium-cni',
    join(process.cwd(), 'dist', 'bin', 'cilium-cni'),
  ].filter((place) => place !== '');
  const found = places.find((place) => existsSync(place));
  if (!found) throw new AppError('no-cni-binary', `no cilium-cni in ${places.join(', ')}: set cni-binary`);
  return found;
}

async function installBinary(source: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const target = join(directory, 'cilium-cni');
  const temporary = join(directory, `.cilium-cni.${process.pid}`);
  await copyFile(source, temporary);
  await chmod(temporary, 0o755);
  await rename(temporary, target);
}

async function disableOthers(directory: string, own: string, logger: Logger): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name === own || !/\.(conf|conflist|json)$/.test(name)) continue;
    await rename(join(directory, name), join(directory, `${name}.cilium_bak`));
    logger.info({ file: join(directory, name) }, 'other CNI configuration set aside');
  }
}

/** @throws AppError `no-cni-binary`; errors of the file system */
export async function installCni(config: AgentConfig, logger: Logger): Promise<void> {
  const directory = config.text('cni-bin-dir');
  if (directory !== '') await installBinary(findBinary(config.text('cni-binary')), directory);
  const file = config.text('write-cni-conf-when-ready');
  if (file === '') return;
  const content = `${JSON.stringify({ cniVersion: '1.0.0', name: 'cilium', plugins: [{ type: 'cilium-cni' }] }, null, 2)}\n`;
  await mkdir(dirname(file), { recursive: true });
  try {
    if (config.bool('cni-exclusive')) await disableOthers(dirname(file), basename(file), logger);
  } catch (error) {
    logger.warn({ error: errorMessage(error) }, 'cannot set other CNI configurations aside');
  }
  const present = await readFile(file, 'utf8').catch(() => '');
  if (present === content) return;
  await writeFile(`${file}.tmp`, content);
  await rename(`${file}.tmp`, file);
  logger.info({ file }, 'CNI configuration written');
}
