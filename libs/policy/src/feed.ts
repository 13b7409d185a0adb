// SPDX-License-Identifier: Apache-2.0
// From Kubernetes objects to the engine: used by the compiler, and by an agent that compiles for itself.
import { errorMessage } from '@cilium-ts/base';
import { identityScope, labelsFromMap } from '@cilium-ts/identity';
import { protocolNumber } from '@cilium-ts/net';
import type { PolicyEngine } from './engine.ts';
import type { PodPort } from './named-ports.ts';
import type { ParseResult, PolicyObject } from './parse-object.ts';
import { parsePolicy } from './parse-policy.ts';
import type { Problem } from './problem.ts';
import { policyKey, type PolicyName } from './rule.ts';

interface Meta {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly generation?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export interface PodObject {
  readonly metadata: Meta;
  readonly spec?: { readonly containers?: readonly ContainerObject[] | undefined } | undefined;
}

interface ContainerObject {
  readonly ports?:
    | readonly {
        readonly name?: string | undefined;
        readonly containerPort: number;
        readonly protocol?: string | undefined;
      }[]
    | undefined;
}

export interface ServiceObject {
  readonly metadata: Meta;
  readonly spec?: { readonly selector?: Readonly<Record<string, string>> | undefined } | undefined;
}

export interface SliceObject {
  readonly metadata: Meta;
  readonly endpoints?: readonly { readonly addresses?: readonly string[] | undefined }[] | null | undefined;
}

/** What became of a policy object. */
export interface PolicyObjectState {
  readonly id: PolicyName;
  readonly uid: string;
  /** Empty: valid. */
  readonly problems: readonly Problem[];
  readonly unenforced: readonly Problem[];
  /** An earlier version of the object is in force although the newest is not valid. */
  readonly previousInForce: boolean;
}

/** Kinds of objects that policy is made of, besides the policies. */
export type WorldKind =
  'CiliumIdentity' | 'CiliumEndpoint' | 'Pod' | 'Service' | 'EndpointSlice' | 'CiliumCIDRGroup' | 'Node';

/** Keeps the engine in step with API objects. An invalid new version of a policy leaves its last valid one in force. */
export class PolicyFeed {
  readonly #engine: PolicyEngine;
  readonly #states = new Map<string, PolicyObjectState>();
  /** Last valid version of each object, as written. */
  readonly #valid = new Map<string, { uid: string; object: PolicyObject }>();
  readonly #ports = new Map<string, readonly PodPort[]>();
  readonly #identities = new Map<string, number>();
  readonly #services = new Map<string, ServiceObject>();
  readonly #slices = new Map<string, Map<string, readonly string[]>>();

  constructor(engine: PolicyEngine) {
    this.#engine = engine;
  }

  states(): IterableIterator<PolicyObjectState> {
    return this.#states.values();
  }

  state(id: PolicyName): PolicyObjectState | undefined {
    return this.#states.get(policyKey(id));
  }

  /** The last valid version of an object whose newest version is invalid. */
  previousVersion(id: PolicyName): PolicyObject | undefined {
    const state = this.state(id);
    return state && state.problems.length > 0 ? this.#valid.get(policyKey(id))?.object : undefined;
  }

  /** Takes a policy object; `previous` is a version known to have been valid, for a feed that starts anew. */
  upsertPolicy(
    object: PolicyObject & { readonly metadata: Meta },
    previous?: PolicyObject,
  ): PolicyObjectState {
    const id = policyName(object);
    const key = policyKey(id);
    const uid = object.metadata.uid ?? '';
    const parsed = this.#parse(object);
    const kept = this.#valid.get(key);
    if (parsed.ok) {
      this.#valid.set(key, { uid, object });
      this.#engine.upsertPolicy(parsed.value);
      return this.#remember(key, {
        id,
        uid,
        problems: [],
        unenforced: parsed.value.unenforced,
        previousInForce: false,
      });
    }
    // A deleted and re-created object has no past.
    if (kept && kept.uid !== uid) this.#dropPolicy(key, id);
    if (!this.#valid.has(key) && previous) this.#restore(key, uid, previous);
    const previousInForce = this.#valid.has(key);
    return this.#remember(key, { id, uid, problems: parsed.error, unenforced: [], previousInForce });
  }

  deletePolicy(object: PolicyObject): void {
    const id = policyName(object);
    this.#states.delete(policyKey(id));
    this.#dropPolicy(policyKey(id), id);
  }

  #remember(key: string, state: PolicyObjectState): PolicyObjectState {
    this.#states.set(key, state);
    return state;
  }

  #dropPolicy(key: string, id: PolicyName): void {
    this.#valid.delete(key);
    this.#engine.deletePolicy(id);
  }

  #restore(key: string, uid: string, previous: PolicyObject): void {
    const parsed = this.#parse(previous);
    if (!parsed.ok) return;
    this.#valid.set(key, { uid, object: previous });
    this.#engine.upsertPolicy(parsed.value);
  }

  #parse(object: PolicyObject): ParseResult {
    const { cluster, hostFirewall } = this.#engine.options;
    const options = { cluster, hostFirewall };
    try {
      return parsePolicy(object, options);
    } catch (error) {
      // A defect of ours must cost this object its validity, not everybody their policy.
      return { ok: false, error: [{ path: 'spec', message: `cannot be read: ${errorMessage(error)}` }] };
    }
  }

  /** Takes an object of one of the kinds policy is made of, or (`gone`) that it was deleted. */
  take(kind: WorldKind, object: { readonly metadata: Meta }, gone = false): void {
    switch (kind) {
      case 'CiliumIdentity':
        return gone ? this.deleteIdentity(object) : this.upsertIdentity(object);
      case 'CiliumEndpoint':
        return gone ? this.deleteEndpoint(object) : this.upsertEndpoint(object);
      case 'Pod':
        return gone ? this.deletePod(object) : this.upsertPod(object);
      case 'Service':
        return gone ? this.deleteService(object) : this.upsertService(object);
      case 'EndpointSlice':
        return gone ? this.deleteSlice(object) : this.upsertSlice(object);
      case 'CiliumCIDRGroup':
        return gone ? this.deleteCidrGroup(object) : this.upsertCidrGroup(object);
      case 'Node':
        return gone || isOutside(object) ? this.deleteNode(object) : this.upsertNode(object);
    }
  }

  /** A node that runs an agent. */
  upsertNode({ metadata }: { readonly metadata: Meta }): void {
    const labels = Object.entries(metadata.labels ?? {});
    this.#engine.updateNode(
      metadata.name ?? '',
      labels.map(([key, value]) => ({ source: 'k8s', key, value })),
    );
  }

  deleteNode({ metadata }: { readonly metadata: Meta }): void {
    this.#engine.updateNode(metadata.name ?? '', undefined);
  }

  upsertIdentity(object: {
    readonly metadata: Meta;
    readonly 'security-labels'?: Readonly<Record<string, string>>;
  }): void {
    const id = Number(object.metadata.name);
    if (identityScope(id) === 'cluster')
      this.#engine.upsertIdentity(id, labelsFromMap(object['security-labels'] ?? {}));
  }

  deleteIdentity(object: { readonly metadata: Meta }): void {
    this.#engine.deleteIdentity(Number(object.metadata.name));
  }

  upsertPod(pod: PodObject): void {
    const ports = (pod.spec?.containers ?? []).flatMap((container) =>
      (container.ports ?? []).flatMap(namedPort),
    );
    this.#ports.set(objectKey(pod.metadata), ports);
    this.#updatePod(objectKey(pod.metadata));
  }

  deletePod(pod: PodObject): void {
    this.#ports.delete(objectKey(pod.metadata));
    this.#updatePod(objectKey(pod.metadata));
  }

  /** A CiliumEndpoint: tells which identity its pod has. */
  upsertEndpoint(endpoint: {
    readonly metadata: Meta;
    readonly status?: { readonly identity?: { readonly id?: number } };
  }): void {
    const id = endpoint.status?.identity?.id;
    if (id === undefined) this.#identities.delete(objectKey(endpoint.metadata));
    else this.#identities.set(objectKey(endpoint.metadata), id);
    this.#updatePod(objectKey(endpoint.metadata));
  }

  deleteEndpoint(endpoint: { readonly metadata: Meta }): void {
    this.#identities.delete(objectKey(endpoint.metadata));
    this.#updatePod(objectKey(endpoint.metadata));
  }

  #updatePod(key: string): void {
    const ports = this.#ports.get(key);
    if (ports === undefined) this.#engine.deletePod(key);
    else this.#engine.upsertPod(key, { identity: this.#identities.get(key), ports });
  }

  upsertService(service: ServiceObject): void {
    this.#services.set(objectKey(service.metadata), service);
    this.#updateService(objectKey(service.metadata));
  }

  deleteService(service: ServiceObject): void {
    const { namespace = '', name = '' } = service.metadata;
    this.#services.delete(objectKey(service.metadata));
    this.#engine.deleteService(namespace, name);
  }

  /** An EndpointSlice: the backends of a Service without selector. */
  upsertSlice(slice: SliceObject): void {
    const service = serviceOf(slice);
    const slices = this.#slices.get(service) ?? new Map<string, readonly string[]>();
    slices.set(
      slice.metadata.name ?? '',
      (slice.endpoints ?? []).flatMap(({ addresses }) => addresses ?? []),
    );
    this.#slices.set(service, slices);
    this.#updateService(service);
  }

  deleteSlice(slice: SliceObject): void {
    const service = serviceOf(slice);
    this.#slices.get(service)?.delete(slice.metadata.name ?? '');
    this.#updateService(service);
  }

  #updateService(key: string): void {
    const service = this.#services.get(key);
    if (!service) return;
    const { namespace = '', name = '', labels = {} } = service.metadata;
    const selector = service.spec?.selector ?? {};
    const bare = Object.keys(selector).length === 0;
    const backends = bare ? [...(this.#slices.get(key)?.values() ?? [])].flat().sort() : [];
    this.#engine.upsertService({ namespace, name, labels, selector, backends });
  }

  upsertCidrGroup(group: {
    readonly metadata: Meta;
    readonly spec?: { readonly externalCIDRs?: readonly string[] };
  }): void {
    const { name = '', labels = {} } = group.metadata;
    this.#engine.upsertCidrGroup({ name, labels, cidrs: group.spec?.externalCIDRs ?? [] });
  }

  deleteCidrGroup(group: { readonly metadata: Meta }): void {
    this.#engine.deleteCidrGroup(group.metadata.name ?? '');
  }
}

function policyName(object: PolicyObject): PolicyName {
  const name = object.metadata?.name ?? '';
  if (object.kind === 'CiliumClusterwideNetworkPolicy' || object.kind === 'ClusterNetworkPolicy')
    return { kind: object.kind, name };
  const kind = object.kind === 'NetworkPolicy' ? 'NetworkPolicy' : 'CiliumNetworkPolicy';
  return { kind, namespace: object.metadata?.namespace ?? 'default', name };
}

/** A Node object of a host outside the cluster, which runs no agent. */
export function isOutside(node: { readonly metadata: Meta }): boolean {
  return node.metadata.labels?.['cilium.io/no-schedule'] === 'true';
}

function objectKey(meta: Meta): string {
  return `${meta.namespace ?? ''}/${meta.name ?? ''}`;
}

function serviceOf(slice: SliceObject): string {
  return `${slice.metadata.namespace ?? ''}/${slice.metadata.labels?.['kubernetes.io/service-name'] ?? ''}`;
}

function namedPort(port: {
  name?: string | undefined;
  containerPort: number;
  protocol?: string | undefined;
}): PodPort[] {
  const protocol = protocolNumber(port.protocol ?? 'TCP');
  return port.name && protocol !== undefined ? [{ name: port.name, port: port.containerPort, protocol }] : [];
}
