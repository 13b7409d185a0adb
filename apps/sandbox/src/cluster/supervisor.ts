// SPDX-License-Identifier: Apache-2.0
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { AppError, errorMessage, silentLogger, type Logger } from '@cilium-ts/base';
import { KubeClient, loadKubeConfigFile, SERVICES, type UntypedObject } from '@cilium-ts/kube';
import { startControllers, startScheduler } from '../controllers/index.ts';
import { Kubelet } from '../kubelet/kubelet.ts';
import { ObjectCache } from '../kubelet/object-cache.ts';
import type { KubeletSettings } from '../kubelet/pod-context.ts';
import { Runtime } from '../runtime/runtime.ts';
import { startApiServer } from './api-server.ts';
import { renderChart } from './chart.ts';
import { markNetnsDir, removeSandbox } from './cleanup.ts';
import { ExternalDoor } from './external-door.ts';
import type { Artifacts, SandboxLayout } from './layout.ts';
import { takeLock, type MachineLock } from './lock.ts';
import { Applier, readManifests } from './manifests.ts';
import { buildNetwork } from './network.ts';
import { createNode, type SandboxNode } from './node.ts';
import type { StartOptions } from './options.ts';
import { planCluster, type ClusterPlan } from './plan.ts';
import { PodWatch } from './pod-watch.ts';
import { cgroupMount, checkMachine } from './preflight.ts';
import type { Progress } from './progress.ts';
import { startRelay } from './relay.ts';
import type { GuardedProcess } from './processes.ts';

interface Stoppable {
  stop(): void | Promise<void>;
}

/** One sandbox: everything between taking the machine's lock and giving it back. */
export class Sandbox {
  readonly layout: SandboxLayout;
  readonly plan: ClusterPlan;
  readonly artifacts: Artifacts;
  readonly #options: StartOptions;
  readonly #progress: Progress;
  readonly #log: Logger;
  readonly #runtime: Runtime;
  readonly #kubelets = new Map<string, Kubelet>();
  readonly #parts: Stoppable[] = [];
  readonly #processes: GuardedProcess[] = [];
  #lock: MachineLock | undefined;
  #nodes: SandboxNode[] = [];
  #client: KubeClient | undefined;
  #workloads: UntypedObject[] = [];
  #pods: PodWatch | undefined;
  #door: ExternalDoor | undefined;
  #stopping: Promise<void> | undefined;
  /** Programs that make things; nothing may be removed before they have ended. */
  #underWay: Promise<unknown> = Promise.resolve();
  #failed: (error: Error) => void = () => undefined;
  /** Rejects when a part that must live ends. */
  readonly failure: Promise<never>;

  constructor(
    layout: SandboxLayout,
    artifacts: Artifacts,
    options: StartOptions,
    progress: Progress,
    log: Logger = silentLogger,
  ) {
    this.layout = layout;
    this.artifacts = artifacts;
    this.plan = planCluster(options.nodes, options.outside);
    this.#options = options;
    this.#progress = progress;
    this.#log = log;
    this.#runtime = new Runtime(artifacts.runtime);
    this.failure = new Promise((_, reject) => (this.#failed = reject));
    this.failure.catch(() => undefined);
  }

  /** False where another sandbox was found running. */
  get holdsMachine(): boolean {
    return this.#lock !== undefined;
  }

  get kubeconfig(): string {
    return `${this.layout.stateDir}/kubeconfig`;
  }

  get client(): KubeClient {
    if (!this.#client) throw new AppError('state', 'the sandbox has not been started');
    return this.#client;
  }

  get pods(): PodWatch {
    if (!this.#pods) throw new AppError('state', 'the sandbox has not been started');
    return this.#pods;
  }

  kubelet(node: string): Kubelet | undefined {
    return this.#kubelets.get(node);
  }

  /** Resolves when nodes are registered and the objects are applied; pods come up after that. @throws AppError */
  async start(): Promise<void> {
    checkMachine();
    const holder = { pid: process.pid, dir: this.artifacts.root, started: new Date().toISOString() };
    this.#lock = await takeLock(this.layout, holder);
    await removeSandbox(this.layout);
    await mkdir(this.layout.stateDir, { recursive: true, mode: 0o711 });
    await markNetnsDir(this.layout);
    const cgroup = `${await cgroupMount(this.layout)}/${this.layout.cgroupName}`;
    await mkdir(`${cgroup}/system`, { recursive: true });
    const nodes = this.#progress.during(nodesText(this.plan), this.#buildNodes(cgroup));
    const objects = this.#progress.during('chart rendered', this.#objects());
    this.#underWay = Promise.allSettled([nodes, objects]);
    const server = await this.#openApi(cgroup);
    await nodes;
    await this.#startRelay(cgroup, server);
    this.#startControllers();
    await Promise.all([this.#startKubelets(), objects.then((all) => this.#apply(all))]);
  }

  /** Ends everything and removes every trace. Safe to call at any time, also twice. */
  stop(): Promise<void> {
    this.#progress.mute();
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #buildNodes(cgroup: string): Promise<void> {
    await buildNetwork(this.#runtime, this.layout, this.plan);
    this.#nodes = await Promise.all(
      this.plan.nodes.map((node) => createNode(this.#runtime, this.layout, cgroup, node)),
    );
  }

  /** Everything but the demo's workloads, which wait until all nodes can take pods: they are to spread. */
  async #objects(): Promise<UntypedObject[]> {
    const { demo, chartValues } = this.#options;
    const [chart, ...folders] = await Promise.all([
      renderChart(this.artifacts, chartValues),
      ...(demo ? ['workloads', 'policies'] : []).map((folder) =>
        readManifests(`${this.artifacts.demo}/${folder}`),
      ),
    ]);
    const objects = folders.flat();
    this.#workloads = objects.filter(({ kind }) => kind === 'Deployment');
    return [...chart, ...objects.filter(({ kind }) => kind !== 'Deployment')];
  }

  /** To be called when the nodes are ready. @throws KubeError */
  startWorkloads(): Promise<void> {
    return this.#workloads.length === 0 ? Promise.resolve() : this.#apply(this.#workloads);
  }

  /** Returns the address the relay has to reach. */
  async #openApi(cgroup: string): Promise<string> {
    const file = this.#options.kubeconfig;
    if (file === undefined) {
      const { process: server, kubeconfig } = await startApiServer(
        this.artifacts,
        this.layout,
        this.plan,
        `${cgroup}/system`,
      );
      this.#guard('the API server', server);
      await copyFile(kubeconfig, this.kubeconfig);
      this.#client = new KubeClient(await loadKubeConfigFile(kubeconfig));
      this.#progress.step(`API server at ${this.#client.config.server}`);
      return this.#client.config.server;
    }
    const config = await loadKubeConfigFile(file);
    await copyFile(file, this.kubeconfig);
    this.#client = new KubeClient(config);
    await this.#client.raw('GET', '/version');
    this.#door = new ExternalDoor(config, this.plan);
    const server = await this.#door.start();
    this.#parts.push(this.#door);
    this.#progress.step(`API server at ${config.server} (from ${file})`);
    return server;
  }

  async #startRelay(cgroup: string, server: string): Promise<void> {
    const relay = await startRelay(
      this.artifacts.runtime,
      this.layout,
      this.plan,
      `${cgroup}/system`,
      server,
    );
    this.#guard('the relay to the API server', relay);
  }

  #guard(what: string, process_: GuardedProcess): void {
    this.#processes.push(process_);
    void process_.ended.then((how) => {
      if (!this.#stopping) this.#failed(new AppError('process', `${what} ended: ${how}`));
    });
  }

  #startControllers(): void {
    if (this.#options.kubeconfig !== undefined && !this.#options.controllers) return;
    const options = { client: this.client, log: this.#log };
    this.#parts.push(startControllers(options), startScheduler(options));
  }

  async #startKubelets(): Promise<void> {
    const cache = new ObjectCache(this.client, this.#log);
    this.#pods = new PodWatch(this.client);
    this.#pods.start();
    this.#parts.push(cache, this.#pods);
    await cache.start();
    const settings = await this.#kubeletSettings();
    await Promise.all(
      this.#nodes.map(async (node) => {
        const kubelet = new Kubelet({
          client: this.client,
          runtime: this.#runtime,
          node,
          cache,
          settings,
          log: this.#log,
        });
        this.#kubelets.set(node.name, kubelet);
        await kubelet.start();
      }),
    );
    this.#progress.step(`${this.#nodes.length} nodes registered`);
  }

  async #kubeletSettings(): Promise<KubeletSettings> {
    // A cluster of others may have other Service addresses than ours.
    const [api, dns] = await Promise.all([
      this.#serviceAddress('default', 'kubernetes'),
      this.#serviceAddress('kube-system', 'kube-dns'),
    ]);
    return {
      clusterDns: dns ?? this.plan.clusterDns,
      apiService: { host: api ?? '10.96.0.1', port: '443' },
      images: this.artifacts.images,
      allowedHostPaths: this.#options.hostPaths,
      hidden: [this.layout.stateDir.slice(0, this.layout.stateDir.lastIndexOf('/'))],
      netnsPrefix: this.layout.prefix,
      machineResolver: await readFile('/etc/resolv.conf', 'utf8').catch(() => ''),
      nodes: this.plan.nodes.map(({ name, ipv4 }) => ({ name, address: ipv4 })),
      ...(this.#door ? { account: this.#door.account } : {}),
    };
  }

  async #serviceAddress(namespace: string, name: string): Promise<string | undefined> {
    if (this.#options.kubeconfig === undefined) return undefined;
    const service = await this.client.find(SERVICES, { namespace, name });
    return service?.spec?.clusterIP || undefined;
  }

  async #apply(objects: readonly UntypedObject[]): Promise<void> {
    await new Applier(this.client).apply(objects);
    this.#progress.step(`${objects.length} objects applied`);
  }

  async #stop(): Promise<void> {
    const quiet = async (work: Promise<unknown> | undefined): Promise<void> => {
      await work?.catch((error: unknown) => this.#log.warn({ error: errorMessage(error) }, 'while stopping'));
    };
    const external = this.#options.kubeconfig !== undefined;
    if (this.#lock) {
      await Promise.all([...this.#kubelets.values()].map((kubelet) => quiet(kubelet.stop(external))));
      for (const part of this.#parts.reverse()) await quiet(Promise.resolve(part.stop()));
      await Promise.all(this.#processes.map((one) => quiet(one.stop())));
      this.#client?.close();
      await this.#underWay;
      await removeSandbox(this.layout);
    }
    await this.#lock?.release();
  }
}

function nodesText(plan: ClusterPlan): string {
  const outside = plan.nodes.filter((node) => node.outside).length;
  const inside = plan.nodes.length - outside;
  return `${inside} nodes${outside > 0 ? ` and ${outside} hosts outside` : ''} on one wire`;
}
