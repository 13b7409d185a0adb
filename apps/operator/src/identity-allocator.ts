// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Logger, type Stoppable } from '@cilium-ts/base';
import type { CiliumIdentity } from '@cilium-ts/crd';
import {
  CLUSTER_IDENTITY_MAX,
  CLUSTER_IDENTITY_MIN,
  labelSetKey,
  labelsFromMap,
  labelsToMap,
  podIdentityLabels,
  type Label,
  type LabelFilter,
} from '@cilium-ts/identity';
import {
  CILIUM_IDENTITIES,
  isAlreadyExists,
  keyOf,
  typedResource,
  WorkQueue,
  type KubeClient,
  type Namespace,
  type Pod,
  type Reflector,
} from '@cilium-ts/kube';
import { withSpan } from '@cilium-ts/telemetry';

export const IDENTITIES = typedResource<CiliumIdentity>(CILIUM_IDENTITIES);

export interface IdentityAllocatorOptions {
  readonly client: KubeClient;
  readonly pods: Reflector<Pod>;
  readonly namespaces: Reflector<Namespace>;
  readonly identities: Reflector<CiliumIdentity>;
  readonly cluster: string;
  readonly filter: LabelFilter;
  readonly log: Logger;
}

/**
 * The only place that gives numbers to label sets: every pod's set has a CiliumIdentity as soon as the pod exists,
 * before its network is made. A number is never given twice; the API server refuses a name that is taken.
 */
export class IdentityAllocator implements Stoppable {
  readonly #options: IdentityAllocatorOptions;
  readonly #queue: WorkQueue<string>;
  /** Label set -> number, of everything seen or made here (the watch may lag behind what was just made). */
  readonly #numbers = new Map<string, number>();
  readonly #taken = new Set<number>();
  readonly #unsubscribe: (() => void)[] = [];
  #next = CLUSTER_IDENTITY_MIN;

  constructor(options: IdentityAllocatorOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      name: 'identities',
      concurrency: 4,
      process: (key) => this.#reconcile(key),
      log: options.log,
    });
  }

  start(): this {
    const { identities, pods, namespaces } = this.#options;
    this.#unsubscribe.push(
      identities.subscribe({
        onAdd: (identity) => this.#learn(identity),
        onDelete: (identity) => this.#forget(identity),
      }),
      pods.subscribe({
        onAdd: (pod) => this.#queue.add(keyOf(pod)),
        onUpdate: (_old, pod) => this.#queue.add(keyOf(pod)),
      }),
      // A namespace's labels are part of its pods' identities.
      namespaces.subscribe({
        onAdd: (namespace) => this.#enqueueNamespace(namespace.metadata.name),
        onUpdate: (_old, namespace) => this.#enqueueNamespace(namespace.metadata.name),
      }),
    );
    return this;
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#queue.stop();
  }

  /** The label set of a pod, undefined where it has none (host network) or its namespace is not known yet. */
  labelsOf(pod: Pod): Label[] | undefined {
    if (pod.spec?.hostNetwork) return undefined;
    const namespace = this.#options.namespaces.store.get(pod.metadata.namespace ?? 'default');
    if (!namespace) return undefined;
    return podIdentityLabels(
      {
        namespace: namespace.metadata.name,
        labels: pod.metadata.labels ?? {},
        namespaceLabels: namespace.metadata.labels ?? {},
        serviceAccount: pod.spec?.serviceAccountName ?? '',
        cluster: this.#options.cluster,
      },
      this.#options.filter,
    );
  }

  #enqueueNamespace(name: string): void {
    for (const pod of this.#options.pods.store.list()) {
      if (pod.metadata.namespace === name) this.#queue.add(keyOf(pod));
    }
  }

  #learn(identity: CiliumIdentity): void {
    const number = Number(identity.metadata.name);
    if (!Number.isInteger(number)) return;
    this.#taken.add(number);
    const key = labelSetKey(labelsFromMap(identity['security-labels']));
    const known = this.#numbers.get(key);
    // Two objects with one label set: the lower number is the one everybody uses.
    if (known === undefined || number < known) this.#numbers.set(key, number);
  }

  #forget(identity: CiliumIdentity): void {
    const number = Number(identity.metadata.name);
    this.#taken.delete(number);
    const key = labelSetKey(labelsFromMap(identity['security-labels']));
    if (this.#numbers.get(key) !== number) return;
    this.#numbers.delete(key);
    for (const pod of this.#options.pods.store.list()) this.#queue.add(keyOf(pod));
  }

  async #reconcile(podKey: string): Promise<void> {
    if (!this.#options.identities.hasSynced) await this.#options.identities.synced;
    const pod = this.#options.pods.store.get(podKey);
    const labels = pod && this.labelsOf(pod);
    if (!labels) return;
    const key = labelSetKey(labels);
    if (this.#numbers.has(key)) return;
    const number = this.#freeNumber();
    this.#numbers.set(key, number);
    try {
      const identity = {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumIdentity',
        metadata: {
          name: String(number),
          labels: { 'io.kubernetes.pod.namespace': pod.metadata.namespace ?? 'default' },
        },
        'security-labels': labelsToMap(labels),
      } as const;
      await withSpan('identity allocate', { identity: number, pod: podKey }, () =>
        this.#options.client.create(IDENTITIES, identity),
      );
      this.#options.log.info({ identity: number, labels: key, pod: podKey }, 'identity allocated');
    } catch (error) {
      if (this.#numbers.get(key) === number) this.#numbers.delete(key);
      if (!isAlreadyExists(error)) this.#taken.delete(number);
      this.#options.log.warn(
        { identity: number, error: errorMessage(error) },
        'identity not allocated, will try again',
      );
      throw error;
    }
  }

  #freeNumber(): number {
    for (let tried = CLUSTER_IDENTITY_MIN; tried <= CLUSTER_IDENTITY_MAX; tried++) {
      const number = this.#next;
      this.#next = number === CLUSTER_IDENTITY_MAX ? CLUSTER_IDENTITY_MIN : number + 1;
      if (this.#taken.has(number)) continue;
      this.#taken.add(number);
      return number;
    }
    throw new Error(`no free identity between ${CLUSTER_IDENTITY_MIN} and ${CLUSTER_IDENTITY_MAX}`);
  }
}
