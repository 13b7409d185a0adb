// SPDX-License-Identifier: Apache-2.0
// The compiled CNI binary against an HTTP server on a unix socket: what it sends, prints and queues.
// Compiled once into a directory of its own; needs gcc.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

let dir: string;
let server: Server | undefined;

interface Run {
  readonly code: number | null;
  readonly stdout: string;
}

function run(
  command: string,
  extra: Record<string, string> = {},
  config = '{"cniVersion":"1.1.0"}',
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_IFNAME: 'eth0',
      CILIUM_RUN_DIR: dir,
      ...extra,
    };
    const child = spawn(join(dir, 'cilium-cni'), [], { env });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(config);
  });
}

async function serve(answer: (body: unknown) => [number, unknown]): Promise<void> {
  await stopServer();
  const started = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const [status, value] = answer(JSON.parse(body));
      const text = JSON.stringify(value);
      response.writeHead(status, { 'content-length': Buffer.byteLength(text) }).end(text);
    });
  });
  server = started;
  await new Promise<void>((resolve) => started.listen(join(dir, 'cilium.sock'), resolve));
}

async function stopServer(): Promise<void> {
  const running = server;
  server = undefined;
  if (running) await new Promise((resolve) => running.close(resolve));
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctst-cni-'));
  execFileSync('make', ['-C', join(process.cwd(), 'apps/cni'), `OUT=${dir}`], { stdio: 'ignore' });
}, 60_000);

afterAll(async () => {
  await stopServer();
  rmSync(dir, { recursive: true, force: true });
});

describe('cilium-cni', () => {
  test('VERSION needs no agent and no input', async () => {
    const { code, stdout } = await run('VERSION', {}, '');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.1.0' });
  });

  test('hands environment and input to the agent and prints its answer', async () => {
    let seen: unknown;
    await serve((body) => {
      seen = body;
      return [200, { cniVersion: '1.1.0', ips: [] }];
    });
    const config = '{"cniVersion":"1.1.0","name":"a\\"b\\n"}';
    const { code, stdout } = await run('ADD', { CNI_ARGS: 'K8S_POD_NAME=x' }, config);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ cniVersion: '1.1.0', ips: [] });
    expect(seen).toMatchObject({ env: { CNI_COMMAND: 'ADD', CNI_ARGS: 'K8S_POD_NAME=x' }, config });
  });

  test('prints the error of the agent and fails', async () => {
    await serve(() => [500, { code: 100, msg: 'no address left' }]);
    const { code, stdout } = await run('ADD');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ code: 100, msg: 'no address left' });
  });

  test('without an agent ADD and CHECK say try again, STATUS says not available', async () => {
    await stopServer();
    const codes: unknown[] = [];
    for (const command of ['ADD', 'CHECK', 'STATUS']) {
      const { code, stdout } = await run(command, { CILIUM_CNI_WAIT_MS: '1' });
      expect(code).toBe(1);
      codes.push((JSON.parse(stdout) as { code: number }).code);
    }
    expect(codes).toEqual([11, 11, 50]);
  });

  test('without an agent DEL queues the request once per attachment and succeeds', async () => {
    await stopServer();
    for (const container of ['c1', 'c1', 'c2']) {
      expect((await run('DEL', { CNI_CONTAINERID: container, CNI_NETNS: '' })).code).toBe(0);
    }
    const files = readdirSync(join(dir, 'deleteQueue')).filter((name) => name.endsWith('.delete'));
    expect(files).toHaveLength(2);
    const queued = JSON.parse(readFileSync(join(dir, 'deleteQueue', files[0]!), 'utf8')) as { env: object };
    expect(queued.env).toMatchObject({ CNI_COMMAND: 'DEL' });
  });

  test('refuses an unknown command and empty input with the codes of the specification', async () => {
    expect(JSON.parse((await run('EAT')).stdout)).toMatchObject({ code: 4 });
    expect(JSON.parse((await run('ADD', {}, '')).stdout)).toMatchObject({ code: 7 });
  });
});
