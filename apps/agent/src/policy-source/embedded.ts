// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import {
  CILIUM_CIDR_GROUPS,
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_ENDPOINTS,
  CILIUM_IDENTITIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  ENDPOINT_SLICES,
  NETWORK_POLICIES,
  NODES,
  PODS,
  Reflector,
  SERVICES,
  type KubeClient,
  type KubeObject,
  type ResourceRef,
} from '@cilium-ts/kube';
import {
  PolicyEngine,
  PolicyFeed,
  formatProblems,
  type EngineOptions,
  type PolicyPublication,
  type PolicyRevision,
  type PolicySource,
  type WorldKind,
} from '@cilium-ts/policy';

import { EmbeddedStatus } from './embedded-status.ts';

const POLICIES = [
  CILIUM_NETWORK_POLICIES,
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
];

const WORLD = [
  CILIUM_IDENTITIES,
  CILIUM_ENDPOINTS,
  PODS,
  SERVICES,
  ENDPOINT_SLICES,
  CILIUM_CIDR_GROUPS,
  NODES,
] as unknown as readonly ResourceRef<KubeObject>[];

export interface EmbeddedPolicySourceOptions {
  readonly node: string;
  /** Of the lease of the agent that writes the policies' status. */
  readonly namespace: string;
  readonly client: KubeClient;
  readonly engine: EngineOptions;
  readonly log: Logger;
}

/** Changes are gathered this long, in milliseconds, and compiled as one. */
const BATCH_MS = 5;

/** Policy compiled in this process by the library that the policy-compiler uses: a node that needs no other service. */
export class EmbeddedPolicySource implements PolicySource {
  readonly #options: EmbeddedPolicySourceOptions;
  readonly #engine: PolicyEngine;
  readonly #feed: PolicyFeed;
  readonly #reflectors: Reflector<KubeObject>[] = [];
  readonly #policies = new Map<string, Reflector<KubeObject>>();
  readonly #status: EmbeddedStatus;
  #onUpdate: ((publication: PolicyPublication) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ready = false;
  #published = false;
  #revision = 0;

  constructor(options: EmbeddedPolicySourceOptions) {
    this.#options = options;
    this.#engine = new PolicyEngine(options.engine);
    this.#feed = new PolicyFeed(this.#engine);
    this.#wire();
    const { client, log, node, namespace } = options;
    this.#status = new EmbeddedStatus({
      client,
      log,
      feed: this.#feed,
      node,
      namespace,
      objectOf: ({ kind, namespace: of, name }) =>
        this.#policies.get(kind)?.store.get(of === undefined ? name : `${of}/${name}`),
    });
  }

  /** What explain asks. */
  get engine(): PolicyEngine {
    return this.#engine;
  }

  start(onUpdate: (publication: PolicyPublication) => void): void {
    this.#onUpdate = onUpdate;
    for (const reflector of this.#reflectors) reflector.start();
    // Half of the inputs would be half of the policy.
    void Promise.all(this.#reflectors.map((reflector) => reflector.synced)).then(() => {
      this.#ready = true;
      this.#status.start();
      this.#changed();
    });
  }

  acknowledge(at: PolicyRevision, error?: string): void {
    this.#status.realised(at, error);
  }

  state(): { kind: 'embedded'; connected: boolean; detail: string } {
    const trouble = this.#reflectors.find((reflector) => reflector.lastError !== undefined)?.lastError;
    const connected = this.#ready && trouble === undefined;
    return { kind: 'embedded', connected, detail: trouble ?? `revision ${this.#revision}` };
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all([this.#status.stop(), ...this.#reflectors.map((reflector) => reflector.stop())]);
  }

  #wire(): void {
    const feed = this.#feed;
    for (const resource of POLICIES) {
      const reflector = this.#follow(
        resource as ResourceRef<KubeObject>,
        (object) => this.#policy({ ...object, kind: resource.kind }),
        (object) => feed.deletePolicy({ ...object, kind: resource.kind } as never),
      );
      this.#policies.set(resource.kind, reflector as unknown as Reflector<KubeObject>);
    }
    for (const resource of WORLD) {
      const kind = resource.kind as WorldKind;
      this.#follow(
        resource,
        (object) => feed.take(kind, object),
        (object) => feed.take(kind, object, true),
      );
    }
  }

  #policy(object: KubeObject): void {
    const { problems } = this.#feed.upsertPolicy(object as never);
    this.#status.changed();
    if (problems.length === 0) return;
    const { name, namespace } = object.metadata;
    this.#options.log.warn(
      { kind: object.kind, namespace, name, problems: formatProblems(problems) },
      'invalid policy',
    );
  }

  #follow<T extends KubeObject>(
    resource: ResourceRef<T>,
    upsert: (object: T) => void,
    remove: (object: T) => void,
  ): Reflector<T> {
    const reflector = new Reflector({ client: this.#options.client, resource, log: this.#options.log });
    const then = (act: (object: T) => void) => (object: T) => {
      act(object);
      this.#changed();
    };
    const put = then(upsert);
    reflector.subscribe({ onAdd: put, onUpdate: (_, object) => put(object), onDelete: then(remove) });
    this.#reflectors.push(reflector as unknown as Reflector<KubeObject>);
    return reflector;
  }

  #changed(): void {
    if (!this.#ready || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#publish();
    }, BATCH_MS);
  }

  #publish(): void {
    const delta = this.#engine.compile();
    if (this.#published && !delta) return this.#status.changed();
    const at = { epoch: 0, revision: ++this.#revision };
    const snapshot = !this.#published;
    this.#published = true;
    const none = { removedSubjects: [], removedCidrs: [] };
    const content = snapshot ? { ...this.#engine.state(), ...none } : delta!;
    this.#status.published(at.revision);
    this.#onUpdate?.({ at, snapshot, ...content });
  }
}
