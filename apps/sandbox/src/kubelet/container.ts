// SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { errorMessage } from '@cilium-ts/base';
import type { Container, ContainerStatus, Pod } from '@cilium-ts/kube';
import { dropCgroup } from '../cluster/cleanup.ts';
import type { ContainerRunSpec } from '../runtime/specification.ts';
import type { ContainerExit, ExecProcess, RunningContainer } from '../runtime/runtime.ts';
import { containerEnvironment } from './environment.ts';
import { ContainerConfigError, type PodFacts } from './pod-facts.ts';
import { containerSpec } from './container-spec.ts';
import { podEvent, type KubeletContext } from './pod-context.ts';
import type { VolumeSource } from './volume-source.ts';
import { ContainerChecks } from './container-checks.ts';

/** What a container needs of its pod. */
export interface ContainerHost {
  readonly context: KubeletContext;
  readonly facts: () => PodFacts;
  readonly podPid: () => number;
  readonly podDir: string;
  readonly podCgroup: string;
  readonly volume: (name: string) => VolumeSource | undefined;
  /** Called after every change of the container's status. */
  readonly changed: () => void;
}

export type ContainerRole = 'init' | 'sidecar' | 'main';

const CRASH_BASE_MS = 1000;
const CRASH_MAX_MS = 30_000;
/** A container that ran this long starts its back-off anew. */
const HEALTHY_RUN_MS = 60_000;
const CONFIG_RETRY_MS = 500;
const CONFIG_RETRY_MAX_MS = 5000;

type State = NonNullable<ContainerStatus['state']>;

/** One container of a pod through all its restarts. */
export class PodContainer {
  readonly container: Container;
  readonly role: ContainerRole;
  readonly #host: ContainerHost;
  readonly #abort = new AbortController();
  #running: RunningContainer | undefined;
  #spec: ContainerRunSpec | undefined;
  #checks: ContainerChecks | undefined;
  #state: State = { waiting: { reason: 'PodInitializing' } };
  #lastState: State = {};
  #attempt = -1;
  #started = false;
  #ready = false;
  #killReason: string | undefined;
  #loop: Promise<void> | undefined;

  constructor(host: ContainerHost, container: Container, role: ContainerRole) {
    this.#host = host;
    this.container = container;
    this.role = role;
  }

  get pod(): Pod {
    return this.#host.facts().pod;
  }

  get running(): RunningContainer | undefined {
    return this.#running;
  }

  get terminated(): State['terminated'] {
    return this.#state.terminated;
  }

  get started(): boolean {
    return this.#started;
  }

  /** Log file of the present (0) or the previous (1) run; undefined where there was none. */
  logFile(back: 0 | 1): string | undefined {
    const attempt = this.#attempt - back;
    return attempt < 0 ? undefined : this.#logPath(attempt);
  }

  status(): ContainerStatus {
    const { name, image = '' } = this.container;
    return {
      name,
      image,
      imageID: '',
      ...(this.#attempt >= 0
        ? { containerID: `cts://${this.pod.metadata.uid}/${name}/${this.#attempt}` }
        : {}),
      state: this.#state,
      lastState: this.#lastState,
      restartCount: Math.max(this.#attempt, 0),
      ready: this.role === 'init' ? this.#state.terminated?.exitCode === 0 : this.#ready,
      started: this.#started,
    } as ContainerStatus;
  }

  /** Runs until the restart policy is satisfied or stop() is called; never rejects. */
  run(): Promise<void> {
    this.#loop ??= this.#runLoop();
    return this.#loop;
  }

  setWaiting(reason: string, message?: string): void {
    this.#state = { waiting: { reason, ...(message === undefined ? {} : { message }) } };
    this.#host.changed();
  }

  /** preStop, SIGTERM, SIGKILL after the grace period. Resolves when the container has ended for good. */
  async stop(graceSeconds: number): Promise<void> {
    if (this.#abort.signal.aborted) {
      // Asked again without patience: the first call's grace period ends here.
      if (graceSeconds === 0 && this.#running && this.#spec) await dropCgroupQuietly(this.#spec.cgroup);
      return void (await this.#loop);
    }
    this.#abort.abort();
    this.#checks?.stop();
    const running = this.#running;
    if (running) {
      this.#event('Normal', 'Killing', `Stopping container ${this.container.name}`);
      await this.#endProcess(running, graceSeconds);
    }
    await this.#loop;
  }

  /** Starts nothing any more; its processes are ended by others. */
  forget(): void {
    this.#abort.abort();
    this.#checks?.stop();
  }

  /** @throws ContainerConfigError where the container does not run now */
  exec(
    command: readonly string[],
    options: { stdin: boolean; tty?: { rows: number; columns: number } },
  ): ExecProcess {
    const running = this.#running;
    const spec = this.#spec;
    if (!running || !spec) throw new ContainerConfigError(`container ${this.container.name} is not running`);
    return this.#host.context.runtime.exec({
      arguments: command,
      environment: options.tty ? [...spec.environment, 'TERM=xterm'] : spec.environment,
      workingDirectory: spec.workingDirectory,
      identity: spec.identity,
      pid: running.pid,
      cgroup: spec.cgroup,
      stdin: options.stdin,
      tty: options.tty,
    });
  }

  async #runLoop(): Promise<void> {
    let crashes = 0;
    let configErrors = 0;
    const signal = this.#abort.signal;
    while (!signal.aborted) {
      const began = performance.now();
      let exit: ContainerExit | undefined;
      try {
        exit = await this.#runOnce();
        configErrors = 0;
      } catch (error) {
        this.#refused(error);
        const wait = Math.min(CONFIG_RETRY_MS * 2 ** configErrors++, CONFIG_RETRY_MAX_MS);
        await sleep(wait, signal);
        continue;
      }
      if (signal.aborted || !this.#restarting(exit)) return;
      crashes = performance.now() - began > HEALTHY_RUN_MS ? 0 : crashes + 1;
      if (crashes > 1) await this.#backOff(Math.min(CRASH_BASE_MS * 2 ** (crashes - 2), CRASH_MAX_MS));
    }
    if (this.#state.waiting) this.#host.changed();
  }

  #restarting(exit: ContainerExit): boolean {
    const policy = this.role === 'sidecar' ? 'Always' : (this.pod.spec?.restartPolicy ?? 'Always');
    if (this.role === 'init') return exit.code !== 0 && policy !== 'Never';
    return policy === 'Always' || (policy === 'OnFailure' && exit.code !== 0);
  }

  async #backOff(ms: number): Promise<void> {
    const { name } = this.container;
    const seconds = Math.round(ms / 1000);
    const message = `back-off ${seconds}s restarting failed container=${name} pod=${this.pod.metadata.name}`;
    this.#lastState = this.#state;
    this.#event('Warning', 'BackOff', `Back-off restarting failed container ${name}`);
    this.setWaiting('CrashLoopBackOff', message);
    await sleep(ms, this.#abort.signal);
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    const about = { pod: this.pod, container: this.container.name };
    podEvent(this.#host.context, about, type, reason, message);
  }

  #refused(error: unknown): void {
    const message = errorMessage(error);
    const reason = error instanceof ContainerConfigError ? 'CreateContainerConfigError' : 'RunContainerError';
    this.#event('Warning', 'Failed', `Error: ${message}`);
    this.setWaiting(reason, message);
  }

  #logPath(attempt: number): string {
    return `${this.#host.podDir}/logs/${this.container.name}/${attempt}.log`;
  }

  async #runOnce(): Promise<ContainerExit> {
    const { context } = this.#host;
    const spec = await this.#prepare(this.#attempt + 1);
    if (this.#abort.signal.aborted) return { code: 137, signal: 9 };
    this.#attempt++;
    this.#killReason = undefined;
    const running = await context.runtime.run(spec);
    this.#spec = spec;
    this.#running = running;
    const startedAt = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const checks = new ContainerChecks(this.#host, this, {
      onStarted: () => this.#setStarted(true),
      onReady: (ready) => this.#setReady(ready),
      onUnhealthy: (why) => void this.#killUnhealthy(running, why),
    });
    this.#checks = checks;
    if (this.#state.terminated) this.#lastState = { terminated: this.#state.terminated };
    this.#state = { running: { startedAt } };
    this.#event('Normal', 'Started', `Started container ${this.container.name}`);
    this.#host.changed();
    if (this.#abort.signal.aborted) void this.#endProcess(running, 0);
    checks.start();
    const exit = await running.exited;
    checks.stop();
    this.#running = undefined;
    await this.#ended(exit, startedAt, spec);
    return exit;
  }

  async #prepare(attempt: number): Promise<ContainerRunSpec> {
    const { context, podDir, podCgroup } = this.#host;
    const facts = this.#host.facts();
    const { name } = this.container;
    const dir = `${podDir}/containers/${name}/${attempt}`;
    const terminationLog = `${dir}/termination-log`;
    const env = containerEnvironment(facts, this.container, context.lookup, context.settings.apiService);
    const spec = containerSpec(facts.pod, this.container, env, this.#host.volume, {
      nodePid: context.node.pid,
      podPid: this.#host.podPid(),
      dir,
      cgroup: `${podCgroup}/${name}`,
      shimCgroup: `${context.node.cgroup}/runtime`,
      logFile: this.#logPath(attempt),
      resolvConf: `${podDir}/resolv.conf`,
      hosts: `${podDir}/hosts`,
      hostname: `${podDir}/hostname`,
      terminationLog,
      images: context.settings.images,
      hidden: context.settings.hidden,
    });
    await Promise.all([
      mkdir(dir, { recursive: true }),
      mkdir(`${podDir}/logs/${name}`, { recursive: true }),
    ]);
    await writeFile(terminationLog, '', { mode: 0o666 });
    this.#event('Normal', 'Created', `Created container: ${name}`);
    return spec;
  }

  async #ended(exit: ContainerExit, startedAt: string, spec: ContainerRunSpec): Promise<void> {
    const message = await this.#terminationMessage(exit, spec);
    this.#started = false;
    this.#ready = false;
    this.#state = {
      terminated: {
        exitCode: exit.code,
        ...(exit.signal ? { signal: exit.signal } : {}),
        reason: exit.code === 0 ? 'Completed' : 'Error',
        ...(message ? { message } : {}),
        startedAt,
        finishedAt: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
        containerID: `cts://${this.pod.metadata.uid}/${this.container.name}/${this.#attempt}`,
      },
    };
    this.#host.changed();
    // What it wrote goes with it; the last two logs stay for `kubectl logs --previous`.
    void rm(spec.dir, { recursive: true, force: true }).catch(() => undefined);
    if (this.#attempt >= 2) void rm(this.#logPath(this.#attempt - 2), { force: true }).catch(() => undefined);
  }

  async #terminationMessage(exit: ContainerExit, spec: ContainerRunSpec): Promise<string> {
    const own = await readFile(`${spec.dir}/termination-log`, 'utf8').catch(() => '');
    if (own !== '' || exit.code === 0) return own.slice(0, 4096);
    if (this.container.terminationMessagePolicy !== 'FallbackToLogsOnError') return this.#killReason ?? '';
    const log = await readFile(spec.logFile, 'utf8').catch(() => '');
    const lines = log.trimEnd().split('\n').slice(-80);
    return lines
      .map((line) => line.split(' ').slice(3).join(' '))
      .join('\n')
      .slice(-2048);
  }

  #setStarted(started: boolean): void {
    if (this.#started === started) return;
    this.#started = started;
    this.#host.changed();
  }

  #setReady(ready: boolean): void {
    if (this.#ready === ready) return;
    this.#ready = ready;
    this.#host.changed();
  }

  async #killUnhealthy(running: RunningContainer, why: string): Promise<void> {
    const { name } = this.container;
    this.#killReason = why;
    this.#event('Normal', 'Killing', `Container ${name} ${why}, will be restarted`);
    await this.#endProcess(running, this.pod.spec?.terminationGracePeriodSeconds ?? 30);
  }

  async #endProcess(running: RunningContainer, graceSeconds: number): Promise<void> {
    let over = false;
    void running.exited.then(() => (over = true));
    const deadline = performance.now() + graceSeconds * 1000;
    if (graceSeconds > 0) {
      await within(this.#checks?.preStop(graceSeconds) ?? Promise.resolve(), graceSeconds * 1000);
      if (!over) signalProcess(running.pid, 'SIGTERM');
      await within(running.exited, Math.max(deadline - performance.now(), 0));
    }
    // Even an ended first process may have left children in the cgroup.
    if (this.#spec) await dropCgroupQuietly(this.#spec.cgroup);
    if (!over) await running.exited;
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

async function dropCgroupQuietly(dir: string): Promise<void> {
  await dropCgroup(dir).catch(() => undefined);
}

function within(work: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    work.then(done, done);
  });
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
