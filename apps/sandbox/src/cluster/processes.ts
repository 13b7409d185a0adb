// SPDX-License-Identifier: Apache-2.0
import { spawn, type ChildProcess } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { AppError } from '@cilium-ts/base';

export interface GuardedProcess {
  readonly child: ChildProcess;
  /** Resolves with a description of how it ended. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts a program that the kernel ends with us, in a cgroup by which a later start finds it should we vanish.
 * Its output goes to `logFile`; its stdout to us where `readyLine` is given, until a line matches.
 */
export function startGuarded(
  runtime: string,
  cgroup: string,
  argv: readonly string[],
  logFile: string,
  env: NodeJS.ProcessEnv = process.env,
): GuardedProcess {
  const log = openSync(logFile, 'a');
  const child = spawn(runtime, ['guard', cgroup, ...argv], {
    stdio: ['ignore', 'pipe', log],
    // Ctrl-C is for us alone: we end our children in order.
    detached: true,
    env,
  });
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
  });
  return {
    child,
    ended,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** The log goes with the sandbox, so its end has to be in the message. */
function lastLines(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().split('\n').slice(-5).join(' | ') || 'it said nothing';
  } catch {
    return `no log at ${path}`;
  }
}

/** Waits for a line of the program's stdout. @throws AppError `process` where it ends before */
export function waitForLine(
  process: GuardedProcess,
  pattern: RegExp,
  what: string,
  logFile: string,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const stdout = process.child.stdout!;
    stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const match = pattern.exec(text);
      if (!match) return;
      text = '';
      stdout.removeAllListeners('data');
      stdout.resume();
      resolve(match[0]);
    });
    void process.ended.then((how) =>
      reject(new AppError('process', `${what} ended early (${how}): ${lastLines(logFile)}`)),
    );
  });
}
