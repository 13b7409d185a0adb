// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import { awaitAgents, awaitAllPods, Tour } from '../demo/tour.ts';
import { removeSandbox } from './cleanup.ts';
import type { Artifacts, SandboxLayout } from './layout.ts';
import { findHolder, takeLock } from './lock.ts';
import type { StartOptions } from './options.ts';
import { checkMachine } from './preflight.ts';
import { Progress } from './progress.ts';
import { Sandbox } from './supervisor.ts';

/** Set for the supervisor that `--detach` leaves behind. */
const BACKGROUND = 'CILIUM_TS_SANDBOX_BACKGROUND';
const STOP_TIMEOUT_MS = 30_000;

/** Messages of a background supervisor to the command that started it. */
type Report = { readonly line: string } | { readonly ready: boolean };

/** JSON lines into the state folder; the folder appears only after the old one has been removed. */
function fileLogger(path: string): Logger {
  let stream: ReturnType<typeof createWriteStream> | undefined;
  const write = (level: string, fields: object, message: string): void => {
    if (!stream && !existsSync(path.slice(0, path.lastIndexOf('/')))) return;
    stream ??= createWriteStream(path, { flags: 'a' }).on('error', () => undefined);
    stream.write(`${JSON.stringify({ level, time: new Date().toISOString(), msg: message, ...fields })}\n`);
  };
  return {
    debug: () => undefined,
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message),
  };
}

/** Runs until a signal or a failure; resolves with the exit code after everything has been removed. */
export async function start(
  layout: SandboxLayout,
  artifacts: Artifacts,
  options: StartOptions,
): Promise<number> {
  const started = performance.now() - process.uptime() * 1000;
  const isBackground = process.env[BACKGROUND] !== undefined;
  const report = (message: Report): void => void (process.connected && process.send?.(message));
  const write = (line: string): void => (isBackground ? report({ line }) : console.log(line));
  const progress = new Progress(write, Math.max(started, 0));
  const sandbox = new Sandbox(
    layout,
    artifacts,
    options,
    progress,
    fileLogger(`${layout.stateDir}/supervisor.log`),
  );
  const abort = new AbortController();
  const interrupted = onSignals(abort);
  const crashed = onCrash();
  try {
    await Promise.race([
      bringUp(sandbox, options, progress, abort.signal),
      sandbox.failure,
      crashed,
      interrupted,
    ]);
    if (!abort.signal.aborted) {
      progress.say(hints(sandbox, options));
      report({ ready: true });
      if (isBackground) process.disconnect?.();
      await Promise.race([interrupted, sandbox.failure, crashed]);
    }
    return 0;
  } catch (error) {
    if (abort.signal.aborted) return 0;
    write(`error: ${errorMessage(error)}`);
    if (!isStanding(error)) return 1;
    // The cluster stands although something in it is not as it should be: leave it for a look.
    write('the sandbox stays up for a look; npm stop or Ctrl-C ends it');
    report({ ready: false });
    if (isBackground) process.disconnect?.();
    await Promise.race([interrupted, sandbox.failure]).catch(() => undefined);
    return 1;
  } finally {
    abort.abort();
    if (!isBackground && sandbox.holdsMachine) console.log('removing the sandbox');
    await sandbox.stop();
  }
}

function isStanding(error: unknown): boolean {
  return error instanceof AppError && ['timeout', 'demo'].includes(error.code);
}

async function bringUp(
  sandbox: Sandbox,
  options: StartOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  await sandbox.start();
  if (options.kubeconfig !== undefined && !options.controllers) {
    await sandbox.startWorkloads();
    progress.say('          pods start when the scheduler of that API server binds them');
    return;
  }
  await awaitAgents(sandbox, progress, signal);
  await sandbox.startWorkloads();
  if (options.demo) await new Tour(sandbox, progress, signal).run();
  await awaitAllPods(sandbox, progress, signal);
}

/** A defect of ours ends the sandbox in order, so that nothing is left behind. */
function onCrash(): Promise<never> {
  return new Promise((_, reject) => {
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(event, (error: unknown) =>
        reject(error instanceof Error ? new Error(error.stack) : new Error(String(error))),
      );
    }
  });
}

function onSignals(abort: AbortController): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const handle = (): void => {
      // A second Ctrl-C does not wait; the next start or stop removes what is left.
      if (++count > 2) process.exit(130);
      abort.abort();
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, handle);
  });
}

function hints(sandbox: Sandbox, options: StartOptions): string {
  const { tools } = sandbox.artifacts;
  const lines = ['', `export KUBECONFIG=${sandbox.kubeconfig}`];
  if (existsSync(tools)) lines.push(`export PATH=${tools}:$PATH`);
  lines.push(
    '',
    'try:',
    '  kubectl get pods -A -o wide',
    '  kubectl exec -n kube-system ds/cilium -- cilium endpoint list',
  );
  if (options.demo) {
    lines.push(
      '  kubectl exec -n kube-system ds/cilium -- hubble observe --verdict DROPPED --last 5',
      '  kubectl apply -f deploy/demo/allow-dns.yaml',
    );
  }
  return [...lines, ''].join('\n');
}

/** Starts a supervisor in the background and returns when it is ready. */
export function startDetached(argv: readonly string[]): Promise<number> {
  const child = spawn(
    process.execPath,
    [process.argv[1] ?? '', ...argv.filter((word) => word !== '--detach')],
    {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, [BACKGROUND]: '1' },
    },
  );
  return new Promise((resolve) => {
    child.on('message', (message) => {
      const report = message as Report;
      if ('line' in report) return console.log(report.line);
      child.disconnect();
      child.unref();
      resolve(report.ready ? 0 : 1);
    });
    child.on('error', (error) => {
      console.error(`error: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code) => resolve(code === 0 ? 1 : (code ?? 1)));
    // Interrupted before it is ready: it goes with us.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  });
}

/** Ends the holder and removes what is left of any sandbox. @throws AppError */
export async function stop(layout: SandboxLayout): Promise<void> {
  checkMachine();
  const holder = await findHolder(layout);
  if (holder) {
    console.log(`ending the sandbox of process ${holder.pid}`);
    await endHolder(layout, holder.pid);
  }
  const lock = await takeLock(layout, {
    pid: process.pid,
    dir: process.cwd(),
    started: new Date().toISOString(),
  });
  const left = existsSync(layout.stateDir);
  await removeSandbox(layout);
  await lock.release();
  console.log(holder ? 'sandbox removed' : left ? 'remains of a sandbox removed' : 'no sandbox was running');
}

async function endHolder(layout: SandboxLayout, pid: number): Promise<void> {
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  signal(pid, 'SIGTERM');
  while ((await findHolder(layout))?.pid === pid) {
    if (performance.now() > deadline) signal(pid, 'SIGKILL');
    await delay(30);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself.
  }
}

/** Prints who holds the machine; exit code 1 where nobody does. */
export async function status(layout: SandboxLayout): Promise<number> {
  const holder = await findHolder(layout);
  if (!holder) {
    console.log('no sandbox is running');
    return 1;
  }
  console.log(`process ${holder.pid}, started ${holder.started} in ${holder.dir}`);
  console.log(`export KUBECONFIG=${layout.stateDir}/kubeconfig`);
  return 0;
}
