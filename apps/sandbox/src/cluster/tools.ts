// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { AppError } from '@cilium-ts/base';

/** Runs a program of the machine and returns its stdout. @throws AppError `tool` with its complaint */
export function runTool(program: string, argv: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    let complaint = '';
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.on('error', (error) => reject(new AppError('tool', `${program}: ${error.message}`)));
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(out).toString());
      else
        reject(
          new AppError('tool', `${program} ${argv.join(' ')}: ${complaint.trim() || `exit code ${code}`}`),
        );
    });
  });
}
