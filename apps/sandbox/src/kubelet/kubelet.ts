// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import { EventRecorder, PODS, Reflector, type KubeClient, type Pod } from '@cilium-ts/kube';
import type { SandboxNode } from '../cluster/node.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { CniConfig, CniRunner } from './cni.ts';
import { NodeReporter } from './node-status.ts';
import type { ObjectCache } from './object-cache.ts';
import type { KubeletContext, KubeletSettings } from './pod-context.ts';
import { PodWorker } from './pod-worker.ts';
import { KubeletServer } from './server.ts';

export interface KubeletOptions {
  readonly client: KubeClient;
  readonly runtime: Runtime;
  readonly node: SandboxNode;
  readonly cache: ObjectCache;
  readonly settings: KubeletSettings;
  readonly log: Logger;
}

/** The agent of one node: runs the pods that are bound to it. Knows only the Kubernetes wire protocol. */
export class Kubelet {
  readonly #context: KubeletContext;
  readonly #pods: Reflector<Pod>;
  readonly #workers = new Map<string, PodWorker>();
  readonly #server: KubeletServer;
  readonly #reporter: NodeReporter;
  readonly #config: CniConfig;
  readonly #socket: string;
  readonly #unsubscribe: () => void;
  #stopped = false;

  constructor(options: KubeletOptions) {
    const { client, runtime, node, cache, settings, log } = options;
    this.#config = new CniConfig(node.folders.cniConf);
    this.#socket = `${node.dir}/kubelet.sock`;
    this.#context = {
      client,
      runtime,
      node,
      log,
      settings,
      lookup: cache,
      cni: { config: this.#config, runner: new CniRunner(runtime, node) },
      recorder: new EventRecorder({ client, component: 'kubelet', host: node.name, log }),
    };
    this.#pods = new Reflector({ client, resource: PODS, fieldSelector: `spec.nodeName=${node.name}`, log });
    this.#server = new KubeletServer(this, runtime, log);
    this.#reporter = new NodeReporter(client, node, this.#config, this.#socket, log);
    this.#unsubscribe = cache.onChange((namespace) => {
      for (const worker of this.#workers.values()) {
        if (worker.pod.metadata.namespace === namespace) worker.refreshVolumes();
      }
    });
  }

  /** Resolves when the node is registered and its pods are watched. @throws KubeError */
  async start(): Promise<void> {
    await this.#server.listen(this.#socket);
    this.#pods.subscribe({
      onAdd: (pod) => this.#put(pod),
      onUpdate: (_, pod) => this.#put(pod),
      onDelete: (pod) => this.#remove(pod),
    });
    await this.#reporter.start();
    this.#pods.start();
  }

  /** Stops looking after the pods, which go with the node; `unregister` also removes the node's object. */
  async stop(unregister = false): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    for (const worker of this.#workers.values()) worker.forget();
    await Promise.all([this.#pods.stop(), this.#reporter.stop()]);
    if (unregister) await this.#reporter.unregister();
    this.#config.stop();
    await this.#server.stop();
  }

  /** The pod of that name on this node. */
  find(namespace: string, name: string): PodWorker | undefined {
    for (const worker of this.#workers.values()) {
      const { metadata } = worker.pod;
      if (metadata.namespace === namespace && metadata.name === name) return worker;
    }
    return undefined;
  }

  #put(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    const known = this.#workers.get(uid);
    if (known) return known.update(pod);
    if (this.#stopped) return;
    const phase = pod.status?.phase;
    if ((phase === 'Succeeded' || phase === 'Failed') && pod.metadata.deletionTimestamp === undefined) return;
    const worker = new PodWorker(this.#context, pod);
    this.#workers.set(uid, worker);
    if (pod.metadata.deletionTimestamp === undefined) worker.start();
    else worker.update(pod);
  }

  #remove(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    const worker = this.#workers.get(uid);
    if (!worker) return;
    this.#workers.delete(uid);
    void worker.abandon();
  }
}
