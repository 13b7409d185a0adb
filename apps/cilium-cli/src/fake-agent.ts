// SPDX-License-Identifier: Apache-2.0
// For tests: a real HTTP server on a unix socket with made-up answers, and the command as a process of its own.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface FakeAgent {
  readonly socket: string;
  /** What was asked, in order. */
  readonly asked: string[];
  readonly stop: () => Promise<void>;
}

/** Answers each path with the JSON of its value, or with the text as it stands; all else is a 404 in our error shape. */
export async function startFakeAgent(answers: Readonly<Record<string, unknown>>): Promise<FakeAgent> {
  const directory = mkdtempSync(join(tmpdir(), 'ctst-cli-'));
  const socket = join(directory, 'cilium.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = request.url ?? '';
    asked.push(url);
    const answer = answers[url];
    if (answer === undefined) {
      response.writeHead(404).end(JSON.stringify({ code: 'not-found', message: `no such thing: ${url}` }));
    } else {
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    asked,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `cilium ARGS` against the agent on `socket`. */
export function runCilium(socket: string, ...args: string[]): Promise<Outcome> {
  const main = join(process.cwd(), 'apps/cilium-cli/src/main.ts');
  const env = { ...process.env, CILIUM_SOCK: socket, NODE_OPTIONS: '', NODE_NO_WARNINGS: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
