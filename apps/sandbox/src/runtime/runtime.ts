// SPDX-License-Identifier: Apache-2.0
import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { AppError } from '@cilium-ts/base';
import {
  containerRecords,
  execRecords,
  nodeRecords,
  podRecords,
  type ContainerExecSpec,
  type ContainerRunSpec,
  type NodeSpec,
  type PodSandboxSpec,
} from './specification.ts';

export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerExit {
  /** Exit code; 128 + signal where a signal ended it. */
  readonly code: number;
  readonly signal: number;
}

export interface RunningContainer {
  /** Process id on the machine. */
  readonly pid: number;
  /** Resolves when the first process has ended and all output is in the log; never rejects. */
  readonly exited: Promise<ContainerExit>;
}

export interface ExecProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Exit code, after all output has been read. */
  readonly exited: Promise<number>;
  resize(size: { readonly rows: number; readonly columns: number }): void;
  kill(): void;
}

/** Calls the native runtime: a short-lived process per job, one shim that stays per container. */
export class Runtime {
  readonly binary: string;

  constructor(binary: string) {
    this.binary = binary;
  }

  /** A network namespace pinned at /run/netns/NAME. @throws AppError `runtime` */
  async createNetns(name: string, sysctls: readonly string[] = []): Promise<void> {
    await this.#job(['netns-create', name, ...sysctls]);
  }

  /** Returns the pid of the process that holds the node's namespaces. @throws AppError `runtime` */
  async createNode(spec: NodeSpec): Promise<number> {
    return Number(await this.#job(['node-create'], nodeRecords(spec)));
  }

  /** Returns the pid of the pod's first process; killing it kills the pod. @throws AppError `runtime` */
  async createPod(spec: PodSandboxSpec): Promise<number> {
    return Number(await this.#job(['pod-create'], podRecords(spec)));
  }

  /** Runs a program in a node's mount and network namespace. Rejects only where it cannot be started. */
  async nodeExec(
    node: { readonly pid: number; readonly cgroup: string },
    argv: readonly string[],
    options: { env?: Record<string, string>; input?: string; timeoutMs?: number } = {},
  ): Promise<ProgramResult> {
    const child = spawn(this.binary, ['node-exec', String(node.pid), `${node.cgroup}/runtime`, ...argv], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...options.env },
      ...(options.timeoutMs === undefined
        ? {}
        : { timeout: options.timeoutMs, killSignal: 'SIGKILL' as const }),
    });
    return collect(child, options.input ?? '');
  }

  /** Starts a container and waits until its program runs. @throws AppError `runtime` with the reason */
  run(spec: ContainerRunSpec): Promise<RunningContainer> {
    const child = spawn(this.binary, ['container-run'], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    child.stdin.on('error', () => undefined);
    child.stdin.end(containerRecords(spec));
    return new Promise((resolve, reject) => {
      let text = '';
      let complaints = '';
      let onExit: (exit: ContainerExit) => void = () => undefined;
      const exited = new Promise<ContainerExit>((done) => (onExit = done));
      let started = false;
      child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const pid = /^started (\d+)$/m.exec(text);
        if (!started && pid) {
          started = true;
          resolve({ pid: Number(pid[1]), exited });
        }
      });
      child.on('error', (error) => reject(failure(error.message)));
      child.on('close', () => {
        const end = /^exited (\d+) (\d+)$/m.exec(text);
        const problem = /^error ([\s\S]*)$/m.exec(text)?.[1]?.trim();
        if (!started) reject(failure(problem ?? (complaints.trim() || 'the container shim ended early')));
        // A shim that was killed takes the output pipes with it: the container ends as if killed.
        onExit(end ? { code: Number(end[1]), signal: Number(end[2]) } : { code: 137, signal: 9 });
      });
    });
  }

  /** Starts a further program in a running container. A program that is absent exits with 127. */
  exec(spec: ContainerExecSpec): ExecProcess {
    const child = spawn(this.binary, ['container-exec', 'control'], {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    });
    const [stdin, stdout, stderr, records, control] = child.stdio as unknown as [
      Writable,
      Readable,
      Readable,
      Writable,
      Writable,
    ];
    for (const stream of [stdin, records, control]) stream.on('error', () => undefined);
    (control as unknown as Readable).resume();
    (records as unknown as Readable).resume();
    records.end(execRecords(spec));
    if (!spec.stdin) stdin.end();
    const exited = new Promise<number>((resolve, reject) => {
      child.on('error', (error) => reject(failure(error.message)));
      child.on('close', (code) => resolve(code ?? 137));
    });
    return {
      stdin,
      stdout,
      stderr,
      exited,
      resize: ({ rows, columns }) => void control.write(`${rows} ${columns}\n`),
      kill: () => void child.kill('SIGKILL'),
    };
  }

  /** A TCP connection from a network namespace. @throws AppError `runtime` with the reason */
  dial(netns: string, host: string, port: number, timeoutMs: number): Promise<Duplex> {
    const child = spawn(this.binary, ['dial', netns, host, String(port), String(timeoutMs)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const duplex = childStream(child);
    return new Promise((resolve, reject) => {
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.startsWith('connected\n')) resolve(duplex);
      });
      child.on('error', (error) => reject(failure(error.message)));
      child.on('close', () => reject(failure(said.trim() || 'the connection ended early')));
    });
  }

  /** Resolves when a TCP connection can be opened. @throws AppError `runtime` with the reason */
  async probeTcp(netns: string, host: string, port: number, timeoutMs: number): Promise<void> {
    await this.#job(['dial', netns, host, String(port), String(timeoutMs), 'probe']);
  }

  async #job(argv: readonly string[], input?: Buffer): Promise<string> {
    const child = spawn(this.binary, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
    const result = await collect(child, input ?? '');
    if (result.code !== 0) {
      throw failure(result.stderr.trim() || `${argv[0]} ended with code ${result.code}`);
    }
    return result.stdout.trim();
  }
}

/** The standard streams of a child as one stream; destroying it ends the child. */
function childStream(child: ChildProcessByStdio<Writable, Readable, Readable>): Duplex {
  child.stdin.on('error', () => undefined);
  const duplex = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      if (child.stdin.write(chunk)) done();
      else child.stdin.once('drain', () => done());
    },
    final: (done) => void child.stdin.end(() => done()),
    destroy: (error, done) => {
      child.kill('SIGKILL');
      done(error);
    },
  });
  child.stdout.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) child.stdout.pause();
  });
  child.on('close', () => {
    duplex.push(null);
    // A writer that waits for room would wait for ever.
    child.stdin.destroy();
  });
  return duplex;
}

function collect(child: ChildProcess, input: string | Buffer): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', (error) => reject(failure(error.message)));
    child.on('close', (code) =>
      resolve({
        code: code ?? 137,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      }),
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

function failure(message: string): AppError {
  return new AppError('runtime', message);
}
