// SPDX-License-Identifier: Apache-2.0
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real nats-server with JetStream on a port and in a folder of its own. */
export class NatsServer {
  readonly store = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-nats-`));
  #process: ChildProcess | undefined;
  port = 0;

  /** Again after `kill`: on the same port, with the same data. */
  async start(): Promise<this> {
    this.port ||= await freePort();
    this.#process = spawn(
      'nats-server',
      ['-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', this.store],
      {
        stdio: 'ignore',
      },
    );
    return this;
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  /** Its data go. */
  wipe(): void {
    rmSync(this.store, { recursive: true, force: true });
  }
}
