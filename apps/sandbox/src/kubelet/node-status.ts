// SPDX-License-Identifier: Apache-2.0
import { availableParallelism, release, totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage, type Logger } from '@cilium-ts/base';
import { LEASES, NODES, isAlreadyExists, isNotFound, type KubeClient, type Node } from '@cilium-ts/kube';
import type { SandboxNode } from '../cluster/node.ts';
import type { CniConfig } from './cni.ts';

export const KUBELET_URL_ANNOTATION = 'cilium-ts.io/kubelet-url';
export const NO_SCHEDULE_LABEL = 'cilium.io/no-schedule';
const KUBELET_VERSION = 'v1.32.0';
const HEARTBEAT_MS = 10_000;
const LEASE_NAMESPACE = 'kube-node-lease';

const timestamp = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

function capacity(): Record<string, string> {
  return {
    cpu: String(availableParallelism()),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: '250',
    'ephemeral-storage': '10Gi',
  };
}

/** Metadata and spec of a node's object. */
export function nodeObject(node: SandboxNode, kubeletSocket: string): Node {
  const { plan } = node;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node.name,
      labels: {
        'kubernetes.io/hostname': node.name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': process.arch === 'x64' ? 'amd64' : process.arch,
        'beta.kubernetes.io/os': 'linux',
        ...(plan.outside ? { [NO_SCHEDULE_LABEL]: 'true' } : {}),
        ...(plan.index === 1 && !plan.outside ? { 'node-role.kubernetes.io/control-plane': '' } : {}),
      },
      annotations: { [KUBELET_URL_ANNOTATION]: `http+unix://${kubeletSocket}` },
    },
    spec: plan.podCidrs.length > 0 ? { podCIDR: plan.podCidrs[0], podCIDRs: [...plan.podCidrs] } : {},
  };
}

function nodeStatus(node: SandboxNode, networkReady: boolean, before: Node | undefined): Node['status'] {
  const now = timestamp();
  const condition = (
    type: string,
    good: boolean,
    healthy: string,
    reason: string,
    message: string,
  ): object => {
    const status = good ? healthy : healthy === 'True' ? 'False' : 'True';
    const old = before?.status?.conditions?.find((known) => known.type === type);
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? now) : now;
    return { type, status, reason, message, lastHeartbeatTime: now, lastTransitionTime };
  };
  const ready = networkReady || node.plan.outside;
  return {
    capacity: capacity(),
    allocatable: capacity(),
    addresses: [
      { type: 'InternalIP', address: node.plan.ipv4 },
      { type: 'InternalIP', address: node.plan.ipv6 },
      { type: 'Hostname', address: node.name },
    ],
    conditions: [
      condition(
        'MemoryPressure',
        true,
        'False',
        'KubeletHasSufficientMemory',
        'kubelet has sufficient memory available',
      ),
      condition('DiskPressure', true, 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition(
        'PIDPressure',
        true,
        'False',
        'KubeletHasSufficientPID',
        'kubelet has sufficient PID available',
      ),
      ready
        ? condition('Ready', true, 'True', 'KubeletReady', 'kubelet is posting ready status')
        : condition('Ready', false, 'True', 'KubeletNotReady', 'no CNI configuration in /etc/cni/net.d yet'),
    ],
    nodeInfo: {
      machineID: node.name,
      systemUUID: node.name,
      bootID: node.name,
      kernelVersion: release(),
      osImage: 'cilium-ts sandbox',
      containerRuntimeVersion: 'cts://0.1.0',
      kubeletVersion: KUBELET_VERSION,
      kubeProxyVersion: '',
      operatingSystem: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    },
  } as unknown as Node['status'];
}

/** Registers the node, keeps its status and lease fresh. */
export class NodeReporter {
  readonly #client: KubeClient;
  readonly #node: SandboxNode;
  readonly #cni: CniConfig;
  readonly #socket: string;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #last: Node | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(client: KubeClient, node: SandboxNode, cni: CniConfig, socket: string, log: Logger) {
    this.#client = client;
    this.#node = node;
    this.#cni = cni;
    this.#socket = socket;
    this.#log = log;
  }

  /** Resolves when the node's object exists with its status. @throws KubeError */
  async start(): Promise<void> {
    await this.#register();
    await this.#report();
    this.#cni.onChange(() => this.#queue());
    this.#timer = setInterval(() => {
      this.#queue();
      void this.#renewLease();
    }, HEARTBEAT_MS);
    this.#timer.unref();
    void this.#renewLease();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    clearInterval(this.#timer);
    await this.#writing;
  }

  /** Removes the node's object from an API server that outlives the sandbox. */
  async unregister(): Promise<void> {
    await this.#client.delete(NODES, { name: this.#node.name }).catch(() => undefined);
  }

  async #register(): Promise<void> {
    const object = nodeObject(this.#node, this.#socket);
    try {
      this.#last = await this.#client.create(NODES, object);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const { labels, annotations, name } = object.metadata;
      // Users' own labels on a node that is known already stay.
      this.#last = await this.#client.patch(NODES, { name }, 'merge', { metadata: { labels, annotations } });
    }
  }

  #queue(): void {
    this.#writing = this.#writing.then(async () => {
      for (let attempt = 0; !this.#abort.signal.aborted && attempt < 5; attempt++) {
        try {
          return await this.#report();
        } catch (error) {
          this.#log.debug({ node: this.#node.name, error: errorMessage(error) }, 'node status not written');
          if (isNotFound(error)) await this.#register().catch(() => undefined);
          await delay(100 * 2 ** attempt);
        }
      }
    });
  }

  async #report(): Promise<void> {
    const status = nodeStatus(this.#node, this.#cni.network !== undefined, this.#last);
    const target = { name: this.#node.name };
    this.#last = await this.#client.patch(NODES, target, 'merge', { status }, { subresource: 'status' });
  }

  async #renewLease(): Promise<void> {
    const name = this.#node.name;
    const renewTime = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
    try {
      await this.#client.patch(LEASES, { namespace: LEASE_NAMESPACE, name }, 'merge', { spec });
    } catch (error) {
      if (!isNotFound(error)) return;
      const lease = { metadata: { name, namespace: LEASE_NAMESPACE }, spec };
      await this.#client.create(LEASES, lease).catch(() => undefined);
    }
  }
}
