// SPDX-License-Identifier: Apache-2.0
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '@cilium-ts/base';
import type { Pod } from '@cilium-ts/kube';
import { isReady } from '../cluster/pod-watch.ts';
import type { Progress } from '../cluster/progress.ts';
import type { Sandbox } from '../cluster/supervisor.ts';
import { containerOf, FlowFeed, tryConnection } from './connection.ts';

const READY_TIMEOUT_MS = 120_000;
const ATTEMPT_MS = 1500;
const FLOW_WAIT_MS = 3000;
const ENFORCED_TIMEOUT_MS = 15_000;

/** Waits until the agents of all cluster nodes are ready. @throws AppError `timeout` */
export async function awaitAgents(sandbox: Sandbox, progress: Progress, signal: AbortSignal): Promise<void> {
  const wanted = sandbox.plan.nodes.filter((node) => !node.outside).length;
  const ready = (): boolean =>
    sandbox.pods.find('kube-system', { 'k8s-app': 'cilium' }).filter(isReady).length >= wanted;
  await sandbox.pods.until('the agents', ready, READY_TIMEOUT_MS, signal);
  progress.step(`${wanted} agents ready`);
}

/** Waits until every pod of the cluster is ready. @throws AppError `timeout` */
export async function awaitAllPods(sandbox: Sandbox, progress: Progress, signal: AbortSignal): Promise<void> {
  const ready = (): boolean => {
    const pods = sandbox.pods.list();
    return pods.length > 0 && pods.every((pod) => isReady(pod) || pod.status?.phase === 'Succeeded');
  };
  await sandbox.pods.until('all pods', ready, READY_TIMEOUT_MS, signal);
  progress.step(`all ${sandbox.pods.list().length} pods ready`);
}

/** The demo's first connections: one that the seed's policies allow, one that they deny, and the missing DNS. */
export class Tour {
  readonly #sandbox: Sandbox;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;

  constructor(sandbox: Sandbox, progress: Progress, signal: AbortSignal) {
    this.#sandbox = sandbox;
    this.#progress = progress;
    this.#signal = signal;
  }

  /** @throws AppError where the demo does not come up or a policy is not enforced */
  async run(): Promise<void> {
    const { pods } = this.#sandbox;
    const find = (namespace: string, app: string): Pod[] => pods.find(namespace, { app }).filter(isReady);
    const standing = (): boolean =>
      find('production', 'frontend').length > 0 &&
      find('production', 'backend').length >= 3 &&
      find('default', 'api-server').length > 0;
    await pods.until('the demo', standing, READY_TIMEOUT_MS, this.#signal);
    this.#progress.step('demo ready');
    const frontend = find('production', 'frontend')[0]!;
    const backend = find('production', 'backend')[0]!;
    const apiServer = find('default', 'api-server')[0]!;
    const feed = new FlowFeed(this.#agentOn(frontend.spec?.nodeName ?? ''), [
      '--from-pod',
      `production/${frontend.metadata.name}`,
    ]);
    try {
      await Promise.all([this.#allowed(feed, frontend, backend), this.#denied(feed, frontend, apiServer)]);
      await this.#names(feed, frontend);
    } finally {
      feed.stop();
    }
  }

  #agentOn(node: string): ReturnType<typeof containerOf> {
    const agents = this.#sandbox.pods.find('kube-system', { 'k8s-app': 'cilium' });
    const agent = agents.find((pod) => pod.spec?.nodeName === node);
    if (!agent) throw new AppError('demo', `no agent runs on ${node}`);
    return containerOf(this.#sandbox, agent);
  }

  async #allowed(feed: FlowFeed, from: Pod, to: Pod): Promise<void> {
    const address = to.status?.podIP ?? '';
    const container = containerOf(this.#sandbox, from);
    const attempt = await this.#repeat(
      () => tryConnection(container, address, 8080, ATTEMPT_MS),
      (one) => one.connected,
    );
    if (!attempt.connected) {
      throw new AppError(
        'demo',
        `production/frontend does not reach backend ${address}:8080: ${attempt.output.trim()}`,
      );
    }
    this.#progress.step(`allowed: frontend -> backend ${address}:8080`);
    this.#show(await feed.find(new RegExp(`:8080\\b.*(FORWARDED|ALLOWED)`), FLOW_WAIT_MS));
  }

  async #denied(feed: FlowFeed, from: Pod, to: Pod): Promise<void> {
    const address = to.status?.podIP ?? '';
    const container = containerOf(this.#sandbox, from);
    const pattern = new RegExp(`${escape(to.metadata.name)}.*:80\\b.*(DROPPED|DENIED)`, 'i');
    const dropped = feed.find(pattern, ENFORCED_TIMEOUT_MS);
    const first = await Promise.race([
      this.#repeat(
        () => tryConnection(container, address, 80, ATTEMPT_MS),
        (one) => !one.connected,
      ),
      dropped.then((line) =>
        line === undefined ? new Promise<never>(() => undefined) : { connected: false, output: '' },
      ),
    ]);
    if (first.connected)
      throw new AppError(
        'demo',
        `production/frontend reaches api-server ${address}:80, which no policy allows`,
      );
    this.#progress.step(`denied: frontend -> api-server ${address}:80`);
    this.#show(await Promise.race([dropped, delay(FLOW_WAIT_MS, undefined, { ref: false })]));
  }

  async #names(feed: FlowFeed, from: Pod): Promise<void> {
    const container = containerOf(this.#sandbox, from);
    const line = feed.find(/:53\b.*(DROPPED|DENIED)/i, FLOW_WAIT_MS);
    const attempt = tryConnection(container, 'backend', 8080, ATTEMPT_MS);
    const [dropped, { connected }] = await Promise.all([line, attempt]);
    if (connected) return this.#progress.step('names resolve in production/frontend');
    this.#progress.step('denied: frontend looks up "backend" in the cluster DNS');
    this.#show(dropped);
    this.#progress.say(
      '          the policy allows no DNS; the fix: kubectl apply -f deploy/demo/allow-dns.yaml',
    );
  }

  #show(line: string | undefined): void {
    this.#progress.say(line === undefined ? '          (no flow seen within 3 s)' : `          ${line}`);
  }

  /** Again until it is as it should be; a policy may be on its way while the first pods start. */
  async #repeat<T>(work: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
    const deadline = performance.now() + ENFORCED_TIMEOUT_MS;
    for (;;) {
      const value = await work();
      if (good(value) || performance.now() > deadline || this.#signal.aborted) return value;
      await delay(100);
    }
  }
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
