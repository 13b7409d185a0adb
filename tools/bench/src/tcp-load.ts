// SPDX-License-Identifier: Apache-2.0
import { execFile, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Where the benches' own programs are built. */
export const LOAD_TOOLS = join(process.cwd(), 'dist', 'bench');
const TOOL = join(LOAD_TOOLS, 'tcpb');
const run = promisify(execFile);

export type LoadKind = 'rr' | 'crr';

export interface LoadResult {
  /** Transactions per second. */
  readonly rate: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** Compiles the load tool where it is older than its source. */
export function buildLoadTool(): void {
  execFileSync('make', ['-s', '-C', join('tools', 'bench', 'native'), `OUT=${LOAD_TOOLS}`], {
    stdio: 'pipe',
  });
}

/** An echo server inside a namespace, on CPU 0; ready when the promise resolves. */
export async function startServer(netns: string, address: string, port: number): Promise<{ stop(): void }> {
  const child = spawn(TOOL, ['server', netns, address, String(port), '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`tcpb server on ${address}:${port} ended with ${code}`)));
  });
  return { stop: () => void child.kill('SIGKILL') };
}

/**
 * One measured run of the client, on the server's CPU.
 * @param rate transactions begun per second; without it one follows the other
 * @throws where the server does not answer within 5 s
 */
export async function measureLoad(
  kind: LoadKind,
  netns: string,
  target: { readonly address: string; readonly port: number },
  count: number,
  rate = 0,
): Promise<LoadResult> {
  const place = [netns, target.address, String(target.port), '0'];
  const { stdout } = await run(TOOL, [kind, ...place, String(count), String(rate)]);
  return JSON.parse(stdout) as LoadResult;
}
