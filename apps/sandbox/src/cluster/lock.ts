// SPDX-License-Identifier: Apache-2.0
import { connect, createServer, type Server } from 'node:net';
import { AppError } from '@cilium-ts/base';
import type { SandboxLayout } from './layout.ts';

/** Who holds the machine. */
export interface Holder {
  readonly pid: number;
  readonly dir: string;
  readonly started: string;
}

export interface MachineLock {
  release(): Promise<void>;
}

/** The present holder, undefined where nobody answers. */
export function findHolder(layout: SandboxLayout): Promise<Holder | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path: layout.lockName });
    let text = '';
    socket.setTimeout(2000, () => socket.destroy());
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      try {
        resolve(JSON.parse(text) as Holder);
      } catch {
        resolve(undefined);
      }
    });
  });
}

/** The kernel releases the name when its holder dies, however that happens. @throws AppError `held` */
export async function takeLock(layout: SandboxLayout, holder: Holder): Promise<MachineLock> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(JSON.stringify(holder));
  });
  try {
    await listen(server, layout.lockName);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const other = await findHolder(layout);
    const who = other
      ? `process ${other.pid}, started ${other.started} in ${other.dir}`
      : 'another process, which does not answer';
    throw new AppError('held', `a sandbox already runs on this machine: ${who}; end it with npm stop`);
  }
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, resolve);
  });
}
