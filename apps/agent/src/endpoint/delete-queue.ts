// SPDX-License-Identifier: Apache-2.0
// Deletions that the CNI binary queued while no agent answered.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { CniCall } from './cni.ts';

/** Replays the queue; files are removed whether their call succeeded or not, since the binary was told it did. */
export async function replayDeletions(
  runDirectory: string,
  handle: (call: CniCall) => Promise<unknown>,
  logger: Logger,
): Promise<number> {
  const directory = join(runDirectory, 'deleteQueue');
  mkdirSync(directory, { recursive: true });
  let replayed = 0;
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.delete'))) {
    const path = join(directory, name);
    try {
      await handle(JSON.parse(readFileSync(path, 'utf8')) as CniCall);
      replayed++;
    } catch (error) {
      logger.warn({ file: path, error: errorMessage(error) }, 'queued deletion could not be replayed');
    }
    rmSync(path, { force: true });
  }
  if (replayed > 0) logger.info({ replayed }, 'queued deletions replayed');
  return replayed;
}
