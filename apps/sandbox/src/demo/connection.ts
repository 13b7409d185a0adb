// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import type { Pod } from '@cilium-ts/kube';
import type { Sandbox } from '../cluster/supervisor.ts';
import { execCollect } from '../kubelet/container-checks.ts';
import type { PodContainer } from '../kubelet/container.ts';
import type { ExecProcess } from '../runtime/runtime.ts';

/** The first container of a pod that runs on one of our nodes. @throws AppError `demo` */
export function containerOf(sandbox: Sandbox, pod: Pod): PodContainer {
  const kubelet = sandbox.kubelet(pod.spec?.nodeName ?? '');
  const container = kubelet?.find(pod.metadata.namespace ?? 'default', pod.metadata.name)?.defaultContainer;
  if (!container) throw new AppError('demo', `pod ${pod.metadata.name} does not run`);
  return container;
}

export interface Attempt {
  readonly connected: boolean;
  readonly output: string;
}

/** One HTTP request by curl, which the set-up brings; `connected` where an answer came in time. */
export async function tryConnection(
  container: PodContainer,
  host: string,
  port: number,
  timeoutMs: number,
): Promise<Attempt> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;
  const command = ['curl', '-sS', '-g', '--max-time', String(timeoutMs / 1000), url];
  const { code, output } = await execCollect(container, command, timeoutMs + 1000);
  return { connected: code === 0, output };
}

/** Follows the flows of one agent as `hubble observe` prints them. */
export class FlowFeed {
  readonly #process: ExecProcess;
  readonly #lines: string[] = [];
  readonly #waiting = new Set<(line: string) => void>();

  constructor(agent: PodContainer, filter: readonly string[]) {
    this.#process = agent.exec(
      ['hubble', 'observe', '--follow', '--last', '100', '-o', 'compact', ...filter],
      {
        stdin: false,
      },
    );
    let rest = '';
    this.#process.stdout.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.#take(line);
    });
    this.#process.stderr.resume();
    this.#process.exited.catch(() => undefined);
  }

  /** The first line, past or to come, that matches; undefined after `timeoutMs`. */
  find(pattern: RegExp, timeoutMs: number): Promise<string | undefined> {
    const known = this.#lines.find((line) => pattern.test(line));
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const listener = (line: string): void => {
        if (!pattern.test(line)) return;
        clearTimeout(timer);
        this.#waiting.delete(listener);
        resolve(line);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(listener);
        resolve(undefined);
      }, timeoutMs);
      this.#waiting.add(listener);
    });
  }

  stop(): void {
    this.#process.kill();
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > 1000) this.#lines.shift();
    for (const listener of [...this.#waiting]) listener(line);
  }
}
