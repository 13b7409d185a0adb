// SPDX-License-Identifier: Apache-2.0
// One watch per kind; what the agent needs of each object goes into tables or is read from the stores.
import type { Logger } from '@cilium-ts/base';
import type { CiliumEndpoint, CiliumIdentity } from '@cilium-ts/crd';
import { formatLabel, labelsFromMap, labelSetKey, RESERVED_IDENTITIES } from '@cilium-ts/identity';
import {
  CILIUM_ENDPOINTS,
  CILIUM_IDENTITIES,
  ENDPOINT_SLICES,
  NAMESPACES,
  NODES,
  PODS,
  Reflector,
  SERVICES,
  type EndpointSlice,
  type KubeClient,
  type KubeObject,
  type Namespace,
  type Node,
  type Pod,
  type Service,
  type UntypedObject,
} from '@cilium-ts/kube';
import { normalizeAddress } from '@cilium-ts/net';
import type { AgentTables, NodeRow } from '../rows.ts';

/** What everyone keeps of metadata. */
function slim(object: KubeObject): KubeObject['metadata'] {
  const { name, namespace, uid, resourceVersion, labels, annotations, deletionTimestamp } = object.metadata;
  return { name, namespace, uid, resourceVersion, labels, annotations, deletionTimestamp };
}

export interface Watches {
  readonly pods: Reflector<Pod>;
  readonly namespaces: Reflector<Namespace>;
  readonly nodes: Reflector<Node>;
  readonly services: Reflector<Service>;
  readonly slices: Reflector<EndpointSlice>;
  readonly identities: Reflector<UntypedObject>;
  readonly endpoints: Reflector<UntypedObject>;
}

export function createWatches(client: KubeClient, nodeName: string, log: Logger): Watches {
  return {
    pods: new Reflector({
      client,
      resource: PODS,
      log,
      fieldSelector: `spec.nodeName=${nodeName}`,
      transform: (pod) => (pod.spec?.nodeName === nodeName ? slimPod(pod) : undefined),
    }),
    namespaces: new Reflector({
      client,
      resource: NAMESPACES,
      log,
      transform: (object) => ({ metadata: slim(object) }) as Namespace,
    }),
    nodes: new Reflector({
      client,
      resource: NODES,
      log,
      transform: (node) =>
        ({
          metadata: slim(node),
          spec: { podCIDR: node.spec?.podCIDR, podCIDRs: node.spec?.podCIDRs },
          status: { addresses: node.status?.addresses },
        }) as Node,
    }),
    services: new Reflector({
      client,
      resource: SERVICES,
      log,
      transform: (service) => ({ metadata: slim(service), spec: service.spec }) as Service,
    }),
    slices: new Reflector({
      client,
      resource: ENDPOINT_SLICES,
      log,
      indexers: {
        service: (slice) => [
          `${slice.metadata.namespace}/${slice.metadata.labels?.['kubernetes.io/service-name'] ?? ''}`,
        ],
      },
    }),
    identities: new Reflector({ client, resource: CILIUM_IDENTITIES, log }),
    endpoints: new Reflector({ client, resource: CILIUM_ENDPOINTS, log }),
  };
}

function slimPod(pod: Pod): Pod {
  return {
    metadata: slim(pod),
    spec: {
      nodeName: pod.spec?.nodeName,
      serviceAccountName: pod.spec?.serviceAccountName,
      hostNetwork: pod.spec?.hostNetwork,
      containers: (pod.spec?.containers ?? []).map(({ name, ports }) => ({ name, ports })),
    },
  } as Pod;
}

export function allWatches(watches: Watches): Reflector<KubeObject>[] {
  return Object.values(watches) as unknown as Reflector<KubeObject>[];
}

export function nodeRow(node: Node, localName: string): NodeRow {
  const addresses = node.status?.addresses ?? [];
  return {
    name: node.metadata.name,
    internalIps: addresses.filter((a) => a.type === 'InternalIP').map((a) => normalizeAddress(a.address)),
    podCidrs: node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []),
    local: node.metadata.name === localName,
    outside: node.metadata.labels?.['cilium.io/no-schedule'] === 'true',
  };
}

/** Carries nodes, identities and pod addresses of the cluster into tables. */
export function fillTables(watches: Watches, tables: AgentTables, nodeName: string): void {
  const { nodes, identities, addresses } = tables;
  const putNode = (node: Node): unknown => nodes.upsert(node.metadata.name, nodeRow(node, nodeName));
  watches.nodes.subscribe({
    onAdd: putNode,
    onUpdate: (_, node) => putNode(node),
    onDelete: (node) => nodes.delete(node.metadata.name),
    onSynced: () => nodes.markSynced(),
  });
  for (const { id, labels } of RESERVED_IDENTITIES) {
    identities.upsert(String(id), { id, labels: labels.map(formatLabel).sort(), key: labelSetKey(labels) });
  }
  const putIdentity = (object: UntypedObject): void => {
    const map = (object as unknown as CiliumIdentity)['security-labels'] ?? {};
    const labels = labelsFromMap(map);
    const id = Number(object.metadata.name);
    identities.upsert(String(id), { id, labels: labels.map(formatLabel).sort(), key: labelSetKey(labels) });
  };
  watches.identities.subscribe({
    onAdd: putIdentity,
    onUpdate: (_, object) => putIdentity(object),
    onDelete: (object) => identities.delete(String(Number(object.metadata.name))),
    onSynced: () => identities.markSynced(),
  });
  fillAddresses(watches.endpoints, addresses);
}

function fillAddresses(endpoints: Reflector<UntypedObject>, addresses: AgentTables['addresses']): void {
  // Which object an address belongs to now: the deletion of an older one must not remove the newer one's row.
  const owner = new Map<string, string>();
  const addressesOf = (object: UntypedObject): string[] =>
    ((object as unknown as CiliumEndpoint).status?.networking?.addressing ?? [])
      .flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])
      .filter((address) => address !== undefined && address !== '')
      .map((address) => normalizeAddress(address!));
  const put = (object: UntypedObject): void => {
    const { status, metadata } = object as unknown as CiliumEndpoint;
    const identity = status?.identity?.id;
    if (identity === undefined) return;
    const { namespace = '', name, uid = '' } = metadata;
    for (const address of addressesOf(object)) {
      owner.set(address, uid || `${namespace}/${name}`);
      addresses.upsert(address, {
        address,
        identity,
        node: status?.networking?.node ?? '',
        namespace,
        podName: name,
      });
    }
  };
  const remove = (object: UntypedObject, keep: readonly string[]): void => {
    const { namespace = '', name, uid = '' } = object.metadata;
    for (const address of addressesOf(object)) {
      if (keep.includes(address) || owner.get(address) !== (uid || `${namespace}/${name}`)) continue;
      owner.delete(address);
      addresses.delete(address);
    }
  };
  endpoints.subscribe({
    onAdd: put,
    onUpdate: (old, object) => {
      addresses.transaction(() => {
        remove(old, addressesOf(object));
        put(object);
      });
    },
    onDelete: (object) => remove(object, []),
    onSynced: () => addresses.markSynced(),
  });
}
