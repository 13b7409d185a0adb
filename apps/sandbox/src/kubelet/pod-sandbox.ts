// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { AppError, errorMessage } from '@cilium-ts/base';
import type { Pod } from '@cilium-ts/kube';
import { dropCgroup, dropNetns } from '../cluster/cleanup.ts';
import type { CniAttachment, CniNetwork, CniResult } from './cni.ts';
import { hostnameOf } from './environment.ts';
import type { KubeletContext } from './pod-context.ts';

const POD_SYSCTLS = [
  'net/ipv4/ping_group_range=0 2147483647',
  'net/ipv4/ip_unprivileged_port_start=0',
  'net/ipv6/conf/all/accept_dad=0',
  'net/ipv6/conf/default/accept_dad=0',
  'net/ipv6/conf/all/accept_ra=0',
  'net/ipv6/conf/default/accept_ra=0',
];

/** A pod's namespaces and its network. */
export class PodSandbox {
  readonly #context: KubeletContext;
  readonly #pod: Pod;
  readonly netns: string;
  readonly cgroup: string;
  #pid = 0;
  #attached: { network: CniNetwork; result: CniResult | undefined } | undefined;
  #podIps: readonly string[] = [];

  constructor(context: KubeletContext, pod: Pod) {
    this.#context = context;
    this.#pod = pod;
    const uid = pod.metadata.uid ?? '';
    this.netns = `${context.settings.netnsPrefix}${uid.slice(0, 8)}`;
    this.cgroup = `${context.node.cgroup}/pods/${uid}`;
  }

  get pid(): number {
    return this.#pid;
  }

  get podIps(): readonly string[] {
    return this.#podIps;
  }

  /** Path of the network namespace in which the pod's processes are. */
  get netnsPath(): string {
    return this.#pod.spec?.hostNetwork ? this.#context.node.netnsPath : `/run/netns/${this.netns}`;
  }

  /** Makes what is missing; call it again after a failure. @throws AppError */
  async create(): Promise<void> {
    const { runtime, node, cni } = this.#context;
    const hostNetwork = this.#pod.spec?.hostNetwork === true;
    if (this.#pid === 0) {
      this.#pid = await runtime.createPod({
        nodePid: node.pid,
        cgroup: `${this.cgroup}/.sandbox`,
        hostNetwork,
        netns: this.netns,
        hostname: hostnameOf(this.#pod),
        sysctls: [...POD_SYSCTLS, ...ownSysctls(this.#pod)],
      });
    }
    if (hostNetwork) {
      this.#podIps = [node.plan.ipv4, node.plan.ipv6];
      return;
    }
    const { network } = cni.config;
    if (!network) throw new AppError('cni', 'the node has no network configuration in /etc/cni/net.d');
    this.#attached = { network, result: undefined };
    try {
      const result = await cni.runner.add(network, this.#attachment());
      const ips = (result.ips ?? []).map(({ address }) => address.split('/')[0] ?? '');
      if (ips.length === 0) throw new AppError('cni', `network ${network.name} gave the pod no address`);
      this.#attached = { network, result };
      this.#podIps = ips;
    } catch (error) {
      // A failed ADD may have left half of it: DEL, as the specification asks.
      await cni.runner.remove(network, this.#attachment(), undefined).catch(() => undefined);
      this.#attached = undefined;
      throw error;
    }
  }

  /** Ends the network, every process and the namespaces; says nothing about what was gone already. */
  async destroy(): Promise<void> {
    const { cni, log } = this.#context;
    const attached = this.#attached;
    this.#attached = undefined;
    if (attached) {
      await cni.runner
        .remove(attached.network, this.#attachment(), attached.result)
        .catch((error: unknown) => {
          log.warn({ pod: this.#pod.metadata.name, error: errorMessage(error) }, 'CNI DEL failed');
        });
    }
    await dropCgroup(this.cgroup).catch((error: unknown) => {
      log.warn({ pod: this.#pod.metadata.name, error: errorMessage(error) }, 'cgroup of the pod does not go');
    });
    this.#pid = 0;
    if (!this.#pod.spec?.hostNetwork) await dropNetns(this.netns).catch(() => undefined);
  }

  #attachment(): CniAttachment {
    const { metadata } = this.#pod;
    return {
      containerId: createHash('sha256').update(`${this.#context.node.name}/${metadata.uid}`).digest('hex'),
      netnsPath: `/run/netns/${this.netns}`,
      podName: metadata.name,
      podNamespace: metadata.namespace ?? 'default',
      podUid: metadata.uid ?? '',
    };
  }
}

function ownSysctls(pod: Pod): string[] {
  return (pod.spec?.securityContext?.sysctls ?? [])
    .filter(({ name }) => name.startsWith('net.'))
    .map(({ name, value }) => `${name.replace(/\./g, '/')}=${value}`);
}
