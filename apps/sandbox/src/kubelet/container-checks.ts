// SPDX-License-Identifier: Apache-2.0
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerHost, PodContainer } from './container.ts';
import { podEvent } from './pod-context.ts';
import { probeHttp, type Probe, type ProbeTarget } from './probe.ts';
import { Prober } from './prober.ts';

export interface CheckListeners {
  onStarted(): void;
  onReady(ready: boolean): void;
  /** The container has to be restarted. */
  onUnhealthy(why: string): void;
}

type Hook = NonNullable<NonNullable<PodContainer['container']['lifecycle']>['preStop']>;

/** Probes and lifecycle hooks of one run of a container. */
export class ContainerChecks {
  readonly #host: ContainerHost;
  readonly #owner: PodContainer;
  readonly #listeners: CheckListeners;
  readonly #probers: Prober[] = [];
  #stopped = false;

  constructor(host: ContainerHost, owner: PodContainer, listeners: CheckListeners) {
    this.#host = host;
    this.#owner = owner;
    this.#listeners = listeners;
  }

  start(): void {
    const { startupProbe, lifecycle } = this.#owner.container;
    const begin = (): void => {
      if (this.#stopped) return;
      if (startupProbe) this.#watchStartup(startupProbe);
      else this.#afterStartup();
    };
    if (!lifecycle?.postStart) return begin();
    void this.#hook(lifecycle.postStart, 'postStart').then((problem) => {
      if (problem === undefined || this.#stopped) return begin();
      this.#event('Warning', 'FailedPostStartHook', problem);
      this.#listeners.onUnhealthy('failed its postStart hook');
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const prober of this.#probers.splice(0)) prober.stop();
  }

  /** Runs the preStop hook; its failure is an event, no more. */
  async preStop(graceSeconds: number): Promise<void> {
    const hook = this.#owner.container.lifecycle?.preStop;
    if (!hook) return;
    const problem = await this.#hook(hook, 'preStop', graceSeconds * 1000);
    if (problem !== undefined) this.#event('Warning', 'FailedPreStopHook', problem);
  }

  #watchStartup(probe: Probe): void {
    const prober = this.#probe(probe, 'Startup', true, (healthy) => {
      prober.stop();
      if (healthy) this.#afterStartup();
      else this.#listeners.onUnhealthy('failed startup probe');
    });
  }

  #afterStartup(): void {
    if (this.#stopped) return;
    const { readinessProbe, livenessProbe } = this.#owner.container;
    this.#listeners.onStarted();
    if (readinessProbe) {
      this.#probe(readinessProbe, 'Readiness', true, (healthy) => this.#listeners.onReady(healthy));
    } else {
      this.#listeners.onReady(true);
    }
    if (livenessProbe) {
      this.#probe(livenessProbe, 'Liveness', false, (healthy) => {
        if (!healthy) this.#listeners.onUnhealthy('failed liveness probe');
      });
    }
  }

  #probe(probe: Probe, kind: string, eager: boolean, onVerdict: (healthy: boolean) => void): Prober {
    const prober = new Prober({
      probe,
      target: this.#target(),
      eager,
      onVerdict,
      onFailure: (message) => this.#event('Warning', 'Unhealthy', `${kind} probe failed: ${message}`),
    });
    this.#probers.push(prober);
    return prober;
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    podEvent(
      this.#host.context,
      { pod: this.#owner.pod, container: this.#owner.container.name },
      type,
      reason,
      message,
    );
  }

  #target(): ProbeTarget {
    const { runtime, node } = this.#host.context;
    const owner = this.#owner;
    return {
      podIp: this.#host.facts().podIps[0] ?? '127.0.0.1',
      port: (wanted) => portNumber(owner, wanted),
      dial: (host, port, timeoutMs) => runtime.dial(node.netnsPath, host, port, timeoutMs),
      probeTcp: (host, port, timeoutMs) => runtime.probeTcp(node.netnsPath, host, port, timeoutMs),
      exec: (command, timeoutMs) => execCollect(owner, command, timeoutMs),
    };
  }

  async #hook(hook: Hook, name: string, timeoutMs = 30_000): Promise<string | undefined> {
    try {
      if (hook.sleep) await delay(hook.sleep.seconds * 1000, undefined, { ref: false });
      if (hook.exec) {
        const { code, output } = await execCollect(this.#owner, hook.exec.command ?? [], timeoutMs);
        if (code !== 0) return `${name} hook: exit code ${code}: ${output.trim().slice(0, 500)}`;
      }
      if (hook.httpGet) {
        const problem = await probeHttp(hook.httpGet, this.#target(), timeoutMs);
        if (problem !== undefined) return `${name} hook: ${problem}`;
      }
      return undefined;
    } catch (error) {
      return `${name} hook: ${(error as Error).message}`;
    }
  }
}

function portNumber(owner: PodContainer, wanted: number | string): number {
  if (typeof wanted === 'number') return wanted;
  if (/^\d+$/.test(wanted)) return Number(wanted);
  const named = owner.container.ports?.find(({ name }) => name === wanted);
  if (!named) throw new Error(`container ${owner.container.name} has no port named ${wanted}`);
  return named.containerPort;
}

/** Runs a command in the container; after `timeoutMs` it is killed and counts as failed. */
export async function execCollect(
  owner: PodContainer,
  command: readonly string[],
  timeoutMs: number,
): Promise<{ code: number; output: string }> {
  const child = owner.exec(command, { stdin: false });
  let output = '';
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill();
  }, timeoutMs);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      if (output.length < 16_384) output += chunk.toString();
    });
  }
  const code = await child.exited;
  clearTimeout(timer);
  if (late)
    return { code: 137, output: `command ${JSON.stringify(command)} timed out after ${timeoutMs} ms` };
  return { code, output };
}
