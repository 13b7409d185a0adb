// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { PODS, Reflector, type KubeClient, type Pod } from '@cilium-ts/kube';

export function isReady(pod: Pod): boolean {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True')
  );
}

/** Why a pod is not ready, in a few words. */
export function podTrouble(pod: Pod): string {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  if (!pod.spec?.nodeName) return `${name}: not scheduled`;
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const { name: container, state, ready } of statuses) {
    if (state?.waiting)
      return `${name}: ${container} ${state.waiting.reason ?? 'waits'} ${state.waiting.message ?? ''}`.trim();
    if (!ready && state?.running) return `${name}: ${container} runs, not ready`;
    if (state?.terminated && state.terminated.exitCode !== 0)
      return `${name}: ${container} exit code ${state.terminated.exitCode}`;
  }
  return `${name}: ${pod.status?.phase ?? 'Pending'}`;
}

/** All pods of the cluster as they change. */
export class PodWatch {
  readonly #reflector: Reflector<Pod>;
  readonly #listeners = new Set<() => void>();

  constructor(client: KubeClient) {
    this.#reflector = new Reflector({ client, resource: PODS });
    const changed = (): void => {
      for (const listener of [...this.#listeners]) listener();
    };
    this.#reflector.subscribe({ onAdd: changed, onUpdate: changed, onDelete: changed, onSynced: changed });
  }

  start(): void {
    this.#reflector.start();
  }

  stop(): Promise<void> {
    return this.#reflector.stop();
  }

  list(): Pod[] {
    return this.#reflector.store.list();
  }

  find(namespace: string, labels: Readonly<Record<string, string>>): Pod[] {
    const matches = (pod: Pod): boolean =>
      Object.entries(labels).every(([key, value]) => pod.metadata.labels?.[key] === value);
    return this.list().filter((pod) => pod.metadata.namespace === namespace && matches(pod));
  }

  /** Resolves when `look` is true of the pods. @throws AppError `timeout` with what `look` was waiting for */
  until(what: string, look: () => boolean, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (look()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
        signal.removeEventListener('abort', aborted);
        if (error) reject(error);
        else resolve();
      };
      const listener = (): void => {
        if (look()) end();
      };
      const aborted = (): void => end(new AppError('aborted', 'stopped'));
      const timer = setTimeout(() => {
        const troubles = this.list()
          .filter((pod) => !isReady(pod))
          .map(podTrouble);
        end(
          new AppError(
            'timeout',
            `waited ${timeoutMs / 1000} s for ${what}; not ready: ${troubles.join('; ') || 'none'}`,
          ),
        );
      }, timeoutMs);
      signal.addEventListener('abort', aborted);
      this.#listeners.add(listener);
    });
  }
}
