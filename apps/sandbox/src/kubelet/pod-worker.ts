// SPDX-License-Identifier: Apache-2.0
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '@cilium-ts/base';
import { isConflict, isNotFound, PODS, type Pod, type PodStatus } from '@cilium-ts/kube';
import { PodContainer, type ContainerHost } from './container.ts';
import { hostnameOf } from './environment.ts';
import type { PodFacts } from './pod-facts.ts';
import { hostsFile, resolvConf } from './network-files.ts';
import { podEvent, type KubeletContext } from './pod-context.ts';
import { PodSandbox } from './pod-sandbox.ts';
import { podPhase, podStatus, type PodObservation } from './pod-status.ts';
import { PodVolumes } from './volumes.ts';

const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5000;
const VOLUME_REFRESH_MS = 100;

/** One pod on this node, from its binding to its end. */
export class PodWorker {
  readonly #context: KubeletContext;
  readonly #dir: string;
  readonly #sandbox: PodSandbox;
  readonly #volumes: PodVolumes;
  readonly #init: PodContainer[];
  readonly #main: PodContainer[];
  readonly #abort = new AbortController();
  readonly #startTime: string;
  #pod: Pod;
  #sandboxReady = false;
  #initialized = false;
  #terminating: Promise<void> | undefined;
  #gone = false;
  #rejected: { reason: string; message: string } | undefined;
  #sent = '';
  #sending: Promise<void> = Promise.resolve();
  #statusQueued = false;
  #refreshTimer: NodeJS.Timeout | undefined;
  #life: Promise<void> | undefined;

  constructor(context: KubeletContext, pod: Pod) {
    this.#context = context;
    this.#pod = pod;
    this.#dir = `${context.node.dir}/pods/${pod.metadata.uid}`;
    this.#startTime = pod.status?.startTime ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    this.#sandbox = new PodSandbox(context, pod);
    const facts = (): PodFacts => this.#facts();
    this.#volumes = new PodVolumes({
      client: context.client,
      lookup: context.lookup,
      facts,
      dir: this.#dir,
      allowedHostPaths: context.settings.allowedHostPaths,
      account: context.settings.account,
    });
    const host: ContainerHost = {
      context,
      facts,
      podPid: () => this.#sandbox.pid,
      podDir: this.#dir,
      podCgroup: this.#sandbox.cgroup,
      volume: (name) => this.#volumes.source(name),
      changed: () => this.#queueStatus(),
    };
    this.#init = (pod.spec?.initContainers ?? []).map(
      (container) =>
        new PodContainer(host, container, container.restartPolicy === 'Always' ? 'sidecar' : 'init'),
    );
    this.#main = (pod.spec?.containers ?? []).map((container) => new PodContainer(host, container, 'main'));
  }

  get pod(): Pod {
    return this.#pod;
  }

  get netnsPath(): string {
    return this.#sandbox.netnsPath;
  }

  container(name: string): PodContainer | undefined {
    return [...this.#main, ...this.#init].find(({ container }) => container.name === name);
  }

  get defaultContainer(): PodContainer | undefined {
    const wanted = this.#pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
    return (wanted === undefined ? undefined : this.container(wanted)) ?? this.#main[0];
  }

  start(): void {
    this.#life ??= this.#live().catch((error: unknown) => {
      this.#context.log.error(
        { pod: this.#pod.metadata.name, error: errorMessage(error) },
        'pod worker failed',
      );
    });
  }

  /** A newer version of the object. */
  update(pod: Pod): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp !== undefined) {
      void this.terminate(pod.metadata.deletionGracePeriodSeconds ?? 30, true);
    } else {
      this.refreshVolumes();
      this.#queueStatus();
    }
  }

  /** A ConfigMap or Secret of the pod's namespace changed. */
  refreshVolumes(): void {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = undefined;
      void this.#volumes.refresh();
    }, VOLUME_REFRESH_MS);
  }

  /** Ends the pod; with `report` its last status is written and the object removed. */
  terminate(graceSeconds: number, report: boolean): Promise<void> {
    this.#terminating ??= this.#terminate(graceSeconds, report);
    return this.#terminating;
  }

  /** The object was removed by force: end at once, tell nobody. */
  abandon(): Promise<void> {
    this.#gone = true;
    if (this.#terminating) {
      for (const container of [...this.#main, ...this.#init]) void container.stop(0);
    }
    return this.terminate(0, false);
  }

  /** The whole node goes: no hooks, no CNI, no status; whoever removes the node ends the processes. */
  forget(): void {
    this.#gone = true;
    this.#terminating ??= Promise.resolve();
    clearTimeout(this.#refreshTimer);
    this.#abort.abort();
    this.#volumes.stop();
    for (const container of [...this.#main, ...this.#init]) container.forget();
  }

  #facts(): PodFacts {
    const { plan, name } = this.#context.node;
    return { pod: this.#pod, nodeName: name, hostIps: [plan.ipv4, plan.ipv6], podIps: this.#sandbox.podIps };
  }

  async #live(): Promise<void> {
    const problem = this.#admission();
    if (problem !== undefined) {
      this.#rejected = { reason: 'NodeRefused', message: problem };
      podEvent(this.#context, { pod: this.#pod }, 'Warning', 'NodeRefused', problem);
      return this.#queueStatus();
    }
    this.#queueStatus();
    for (const container of this.#main)
      if (this.#init.length === 0) container.setWaiting('ContainerCreating');
    await mkdir(this.#dir, { recursive: true });
    await Promise.all([
      this.#untilDone('FailedCreatePodSandBox', 'Failed to create pod sandbox', () => this.#makeSandbox()),
      this.#untilDone('FailedMount', 'MountVolume.SetUp failed', () => this.#volumes.prepare()),
    ]);
    if (this.#abort.signal.aborted) return;
    await this.#writeFiles();
    this.#sandboxReady = true;
    this.#queueStatus();
    if (!(await this.#runInit())) return;
    this.#initialized = true;
    for (const container of this.#main) container.setWaiting('ContainerCreating');
    await Promise.all(this.#main.map((container) => container.run()));
    if (this.#abort.signal.aborted) return;
    // All ended for good: the network goes, logs and status stay until the object is deleted.
    await Promise.all(this.#init.map((container) => container.stop(this.#grace())));
    this.#sandboxReady = false;
    await this.#sandbox.destroy();
    this.#queueStatus();
  }

  #grace(): number {
    return this.#pod.spec?.terminationGracePeriodSeconds ?? 30;
  }

  #admission(): string | undefined {
    const { node } = this.#context;
    if (node.plan.outside && !this.#pod.spec?.hostNetwork) {
      return `${node.name} is outside the cluster network: only pods with hostNetwork: true run there`;
    }
    if (this.#pod.spec?.hostPID) return 'hostPID is not available: pods never see processes of the machine';
    return undefined;
  }

  async #makeSandbox(): Promise<void> {
    const { cni } = this.#context;
    if (!this.#pod.spec?.hostNetwork && !cni.config.network) {
      const message = 'network is not ready: no CNI configuration in /etc/cni/net.d of the node yet';
      podEvent(this.#context, { pod: this.#pod }, 'Warning', 'NetworkNotReady', message);
      await cni.config.ready(this.#abort.signal);
      if (this.#abort.signal.aborted) return;
    }
    await this.#sandbox.create();
  }

  /** Repeats with back-off; each new complaint is an event. */
  async #untilDone(reason: string, what: string, work: () => Promise<void>): Promise<void> {
    let last = '';
    for (let attempt = 0; !this.#abort.signal.aborted; attempt++) {
      try {
        return await work();
      } catch (error) {
        const message = errorMessage(error);
        if (message !== last)
          podEvent(this.#context, { pod: this.#pod }, 'Warning', reason, `${what}: ${message}`);
        last = message;
        const wait = Math.min(RETRY_BASE_MS * 2 ** attempt, RETRY_MAX_MS);
        await delay(wait, undefined, { signal: this.#abort.signal }).catch(() => undefined);
      }
    }
  }

  async #writeFiles(): Promise<void> {
    const { settings, node } = this.#context;
    const hostname = this.#pod.spec?.hostNetwork ? node.name : hostnameOf(this.#pod);
    await Promise.all([
      writeFile(
        `${this.#dir}/resolv.conf`,
        resolvConf(this.#pod, settings.clusterDns, settings.machineResolver),
      ),
      writeFile(`${this.#dir}/hosts`, hostsFile(this.#pod, this.#sandbox.podIps, settings.nodes)),
      writeFile(`${this.#dir}/hostname`, `${hostname}\n`),
    ]);
  }

  /** False: an init container failed for good, or the pod is being ended. */
  async #runInit(): Promise<boolean> {
    for (const container of this.#init) {
      const ended = container.run();
      if (container.role === 'sidecar') {
        while (!container.started && !this.#abort.signal.aborted) await delay(20);
        continue;
      }
      await ended;
      if (this.#abort.signal.aborted || container.terminated?.exitCode !== 0) {
        if (!this.#abort.signal.aborted) {
          await this.#sandbox.destroy();
          this.#queueStatus();
        }
        return false;
      }
    }
    return !this.#abort.signal.aborted;
  }

  async #terminate(graceSeconds: number, report: boolean): Promise<void> {
    clearTimeout(this.#refreshTimer);
    this.#abort.abort();
    const grace = Math.max(graceSeconds, 0);
    await Promise.all(this.#main.map((container) => container.stop(grace)));
    for (const container of [...this.#init].reverse()) await container.stop(grace);
    await this.#life;
    this.#volumes.stop();
    await this.#sandbox.destroy();
    this.#sandboxReady = false;
    if (report && !this.#gone) await this.#reportEnd();
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) => {
      this.#context.log.warn({ dir: this.#dir, error: errorMessage(error) }, 'folder of the pod does not go');
    });
  }

  async #reportEnd(): Promise<void> {
    this.#queueStatus();
    await new Promise((resolve) => setImmediate(resolve));
    await this.#sending;
    const { name, namespace, uid } = this.#pod.metadata;
    for (let attempt = 0; attempt < 50 && !this.#gone; attempt++) {
      try {
        await this.#context.client.delete(
          PODS,
          { name, namespace },
          {
            gracePeriodSeconds: 0,
            preconditions: uid === undefined ? {} : { uid },
          },
        );
        return;
      } catch (error) {
        if (isNotFound(error) || isConflict(error)) return;
        await delay(Math.min(100 * 2 ** attempt, 5000));
      }
    }
  }

  #observation(): PodObservation {
    return {
      pod: this.#pod,
      hostIps: this.#facts().hostIps,
      podIps: this.#sandbox.podIps,
      sandboxReady: this.#sandboxReady,
      initialized: this.#initialized || this.#init.length === 0,
      init: this.#init.map((container) => container.status()),
      containers: this.#main.map((container) => container.status()),
      terminating: this.#terminating !== undefined,
      rejected: this.#rejected,
      startTime: this.#startTime,
    };
  }

  get phase(): string {
    return podPhase(this.#observation());
  }

  // Changes of one turn make one write; writes follow each other.
  #queueStatus(): void {
    if (this.#statusQueued || this.#gone) return;
    this.#statusQueued = true;
    setImmediate(() => {
      this.#statusQueued = false;
      this.#sending = this.#sending.then(() => this.#sendStatus());
    });
  }

  async #sendStatus(): Promise<void> {
    const status: PodStatus = podStatus(this.#observation());
    const text = JSON.stringify(status);
    if (text === this.#sent || this.#gone) return;
    const { name, namespace, uid } = this.#pod.metadata;
    for (let attempt = 0; attempt < 8 && !this.#gone; attempt++) {
      try {
        const body = { metadata: { uid }, status };
        this.#pod = await this.#context.client.patch(PODS, { name, namespace }, 'merge', body, {
          subresource: 'status',
        });
        this.#sent = text;
        return;
      } catch (error) {
        if (isNotFound(error) || isConflict(error)) return;
        this.#context.log.debug({ pod: name, error: errorMessage(error) }, 'status not written');
        await delay(Math.min(50 * 2 ** attempt, 3000));
      }
    }
  }
}
