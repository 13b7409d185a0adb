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
  type EndpointSlice,
  type KubeClient,
  type KubeObject,
  type Pod,
  type ResourceRef,
} from '@cilium-ts/kube';
import {
  isOutside,
  type PolicyFeed,
  type PolicyKind,
  type PolicyName,
  type WorldKind,
} from '@cilium-ts/policy';

export interface InputHandlers {
  /** Something that policy depends on changed. */
  readonly onChange: () => void;
  /** A policy object came or changed; `object` carries its status as the API server has it. */
  readonly onPolicy: (object: KubeObject, kind: PolicyKind) => void;
  readonly onPolicyDeleted: (object: KubeObject, kind: PolicyKind) => void;
  /** The set of nodes that enforce policy changed. */
  readonly onNodes: () => void;
  /** An EndpointSlice of the NATS service. */
  readonly onNatsSlice: (slice: EndpointSlice, deleted: boolean) => void;
}

const POLICY_KINDS = [
  CILIUM_NETWORK_POLICIES,
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
] as const;

const WORLD = [
  CILIUM_IDENTITIES,
  CILIUM_ENDPOINTS,
  PODS,
  SERVICES,
  ENDPOINT_SLICES,
  CILIUM_CIDR_GROUPS,
  NODES,
] as unknown as readonly ResourceRef<KubeObject>[];

/** Watches everything policy is made of. */
export class Inputs {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #feed: PolicyFeed;
  readonly #handlers: InputHandlers;
  readonly #natsService: string;
  readonly #reflectors: Reflector<KubeObject>[] = [];
  readonly #policies = new Map<PolicyKind, Reflector<KubeObject>>();
  readonly #nodes = new Set<string>();

  constructor(
    client: KubeClient,
    log: Logger,
    feed: PolicyFeed,
    natsService: string,
    handlers: InputHandlers,
  ) {
    this.#client = client;
    this.#log = log;
    this.#feed = feed;
    this.#handlers = handlers;
    this.#natsService = natsService;
    this.#wirePolicies();
    this.#wireWorld();
  }

  /** Resolves when everything was listed once. */
  async start(): Promise<void> {
    for (const reflector of this.#reflectors) reflector.start();
    await Promise.all(this.#reflectors.map((reflector) => reflector.synced));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.stop()));
  }

  /** Names of nodes that run an agent. */
  get nodes(): ReadonlySet<string> {
    return this.#nodes;
  }

  get lastError(): string | undefined {
    return this.#reflectors.find((reflector) => reflector.lastError !== undefined)?.lastError;
  }

  /** The newest version of a policy object. */
  policyObject(id: PolicyName): KubeObject | undefined {
    return this.#policies.get(id.kind)?.store.getByName(id.namespace, id.name);
  }

  #wirePolicies(): void {
    const { onPolicy, onPolicyDeleted } = this.#handlers;
    for (const resource of POLICY_KINDS) {
      const kind = resource.kind as PolicyKind;
      const reflector = this.#follow<KubeObject>(
        resource as ResourceRef<KubeObject>,
        (object) => onPolicy({ ...object, kind }, kind),
        (object) => onPolicyDeleted({ ...object, kind }, kind),
      );
      this.#policies.set(kind, reflector);
    }
  }

  #wireWorld(): void {
    for (const resource of WORLD) {
      const kind = resource.kind as WorldKind;
      const take = (object: KubeObject, gone: boolean): void => {
        this.#feed.take(kind, object, gone);
        if (kind === 'Node') this.#setNode(object, gone);
        if (kind === 'EndpointSlice') this.#maybeNats(object as EndpointSlice, gone);
      };
      this.#follow(
        resource,
        (object) => take(object, false),
        (object) => take(object, true),
        kind === 'Pod' ? (object) => keepPorts(object as Pod) : undefined,
      );
    }
  }

  #maybeNats(slice: EndpointSlice, gone: boolean): void {
    const { namespace, labels } = slice.metadata;
    if (`${namespace}/${labels?.['kubernetes.io/service-name']}` === this.#natsService)
      this.#handlers.onNatsSlice(slice, gone);
  }

  #setNode(node: KubeObject, gone: boolean): void {
    const { name } = node.metadata;
    const present = !gone && !isOutside(node);
    if (present === this.#nodes.has(name)) return;
    if (present) this.#nodes.add(name);
    else this.#nodes.delete(name);
    this.#handlers.onNodes();
  }

  #follow<T extends KubeObject>(
    resource: ResourceRef<T>,
    upsert: (object: T) => void,
    remove: (object: T) => void,
    transform?: (object: T) => T,
  ): Reflector<KubeObject> {
    const reflector = new Reflector({ client: this.#client, resource, log: this.#log, transform });
    const put = (object: T): void => {
      upsert(object);
      this.#handlers.onChange();
    };
    reflector.subscribe({
      onAdd: put,
      onUpdate: (_, object) => put(object),
      onDelete: (object) => {
        remove(object);
        this.#handlers.onChange();
      },
    });
    const untyped = reflector as unknown as Reflector<KubeObject>;
    this.#reflectors.push(untyped);
    return untyped;
  }
}

/** Of a pod only the named ports matter here; clusters have many pods. */
function keepPorts(pod: Pod): Pod {
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  const containers = (pod.spec?.containers ?? []).map((container) => ({
    name: container.name,
    ports: container.ports?.filter((port) => port.name) ?? [],
  }));
  return { metadata: { name, namespace, uid, resourceVersion }, spec: { containers } } as unknown as Pod;
}
