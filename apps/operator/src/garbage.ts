// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Clock, type Logger, type Stoppable } from '@cilium-ts/base';
import type { CiliumEndpoint, CiliumIdentity } from '@cilium-ts/crd';
import { labelSetKey, labelsFromMap } from '@cilium-ts/identity';
import {
  CILIUM_ENDPOINTS,
  isNotFound,
  keyOf,
  typedResource,
  type KubeClient,
  type Pod,
  type Reflector,
} from '@cilium-ts/kube';
import { IDENTITIES, type IdentityAllocator } from './identity-allocator.ts';

export const ENDPOINTS = typedResource<CiliumEndpoint>(CILIUM_ENDPOINTS);

export interface GarbageOptions {
  readonly client: KubeClient;
  readonly allocator: IdentityAllocator;
  readonly pods: Reflector<Pod>;
  readonly identities: Reflector<CiliumIdentity>;
  readonly endpoints: Reflector<CiliumEndpoint>;
  readonly intervalMs: number;
  readonly unusedMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Removes identities nobody used for a while, and endpoints whose pod is gone. */
export class GarbageCollector implements Stoppable {
  readonly #options: GarbageOptions;
  /** Identity name -> monotonic time since which no pod and no endpoint uses it. */
  readonly #unusedSince = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: GarbageOptions) {
    this.#options = options;
  }

  start(): this {
    const every = Math.min(this.#options.intervalMs, 60_000);
    this.#timer = setInterval(() => void this.collect(), every).unref();
    this.#options.pods.subscribe({ onDelete: (pod) => void this.#removeEndpoint(keyOf(pod)) });
    return this;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async collect(): Promise<void> {
    const { pods, identities, endpoints } = this.#options;
    if (!pods.hasSynced || !identities.hasSynced || !endpoints.hasSynced) return;
    for (const endpoint of endpoints.store.list()) {
      if (!pods.store.get(keyOf(endpoint))) await this.#removeEndpoint(keyOf(endpoint));
    }
    const used = this.#usedIdentities();
    const now = this.#options.clock.monotonic();
    for (const identity of identities.store.list()) await this.#judge(identity, used, now);
  }

  async #judge(identity: CiliumIdentity, used: ReadonlySet<string>, now: number): Promise<void> {
    const { name } = identity.metadata;
    if (used.has(name) || used.has(labelSetKey(labelsFromMap(identity['security-labels'])))) {
      this.#unusedSince.delete(name);
      return;
    }
    const since = this.#unusedSince.get(name) ?? now;
    this.#unusedSince.set(name, since);
    if (now - since < this.#options.unusedMs) return;
    this.#unusedSince.delete(name);
    await this.#remove(() => this.#options.client.delete(IDENTITIES, { name }), { identity: name });
  }

  /** Names of identities on endpoints, and label sets of pods: whatever is one of both stays. */
  #usedIdentities(): Set<string> {
    const used = new Set<string>();
    for (const endpoint of this.#options.endpoints.store.list()) {
      if (endpoint.status?.identity) used.add(String(endpoint.status.identity.id));
    }
    for (const pod of this.#options.pods.store.list()) {
      const labels = this.#options.allocator.labelsOf(pod);
      if (labels) used.add(labelSetKey(labels));
    }
    return used;
  }

  async #removeEndpoint(key: string): Promise<void> {
    const endpoint = this.#options.endpoints.store.get(key);
    if (!endpoint || this.#options.pods.store.get(key)) return;
    const name = { name: endpoint.metadata.name, namespace: endpoint.metadata.namespace };
    await this.#remove(() => this.#options.client.delete(ENDPOINTS, name), { endpoint: key });
  }

  async #remove(act: () => Promise<unknown>, subject: object): Promise<void> {
    try {
      await act();
      this.#options.log.info(subject, 'removed what nobody uses');
    } catch (error) {
      if (!isNotFound(error))
        this.#options.log.warn({ ...subject, error: errorMessage(error) }, 'not removed, will try again');
    }
  }
}
