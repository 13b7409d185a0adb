// SPDX-License-Identifier: Apache-2.0
import type * as wire from './wire.ts';
import type { KubeObject } from './wire.ts';

/** Where a kind lives in the API. `group` is empty for the core group. The type parameter is the object's type. */
export interface ResourceRef<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set; carries the object type. */
  readonly objectType?: T;
}

export function resource<T extends KubeObject = wire.UntypedObject>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  namespaced: boolean,
): ResourceRef<T> {
  return { group, version, plural, kind, namespaced };
}

/** The same resource with a more exact object type, for custom resources. */
export function typedResource<T extends KubeObject>(ref: ResourceRef): ResourceRef<T> {
  return ref as ResourceRef<T>;
}

/** `v1`, `apps/v1`. */
export function apiVersionOf(ref: Pick<ResourceRef, 'group' | 'version'>): string {
  return ref.group === '' ? ref.version : `${ref.group}/${ref.version}`;
}

/** URL path of a collection, an object or a subresource. Without namespace: the collection over all namespaces. */
export function resourcePath(
  ref: ResourceRef,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  let path = ref.group === '' ? `/api/${ref.version}` : `/apis/${ref.group}/${ref.version}`;
  if (ref.namespaced && namespace !== undefined && namespace !== '') {
    path += `/namespaces/${encodeURIComponent(namespace)}`;
  }
  path += `/${ref.plural}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  if (subresource !== undefined) path += `/${subresource}`;
  return path;
}

export const PODS = resource<wire.Pod>('', 'v1', 'pods', 'Pod', true);
export const SERVICES = resource<wire.Service>('', 'v1', 'services', 'Service', true);
export const ENDPOINTS = resource<wire.Endpoints>('', 'v1', 'endpoints', 'Endpoints', true);
export const NODES = resource<wire.Node>('', 'v1', 'nodes', 'Node', false);
export const NAMESPACES = resource<wire.Namespace>('', 'v1', 'namespaces', 'Namespace', false);
export const CONFIG_MAPS = resource<wire.ConfigMap>('', 'v1', 'configmaps', 'ConfigMap', true);
export const SECRETS = resource<wire.Secret>('', 'v1', 'secrets', 'Secret', true);
export const SERVICE_ACCOUNTS = resource<wire.ServiceAccount>(
  '',
  'v1',
  'serviceaccounts',
  'ServiceAccount',
  true,
);
export const EVENTS = resource<wire.Event>('', 'v1', 'events', 'Event', true);
export const LEASES = resource<wire.Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease', true);
export const ENDPOINT_SLICES = resource<wire.EndpointSlice>(
  'discovery.k8s.io',
  'v1',
  'endpointslices',
  'EndpointSlice',
  true,
);
export const NETWORK_POLICIES = resource<wire.NetworkPolicy>(
  'networking.k8s.io',
  'v1',
  'networkpolicies',
  'NetworkPolicy',
  true,
);
export const DEPLOYMENTS = resource<wire.Deployment>('apps', 'v1', 'deployments', 'Deployment', true);
export const REPLICA_SETS = resource<wire.ReplicaSet>('apps', 'v1', 'replicasets', 'ReplicaSet', true);
export const DAEMON_SETS = resource<wire.DaemonSet>('apps', 'v1', 'daemonsets', 'DaemonSet', true);
export const STATEFUL_SETS = resource<wire.StatefulSet>('apps', 'v1', 'statefulsets', 'StatefulSet', true);
export const CONTROLLER_REVISIONS = resource<wire.ControllerRevision>(
  'apps',
  'v1',
  'controllerrevisions',
  'ControllerRevision',
  true,
);
export const JOBS = resource<wire.Job>('batch', 'v1', 'jobs', 'Job', true);
export const CUSTOM_RESOURCE_DEFINITIONS = resource<wire.CustomResourceDefinition>(
  'apiextensions.k8s.io',
  'v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  false,
);

const CILIUM = 'cilium.io';
export const CILIUM_NETWORK_POLICIES = resource(
  CILIUM,
  'v2',
  'ciliumnetworkpolicies',
  'CiliumNetworkPolicy',
  true,
);
export const CILIUM_CLUSTERWIDE_NETWORK_POLICIES = resource(
  CILIUM,
  'v2',
  'ciliumclusterwidenetworkpolicies',
  'CiliumClusterwideNetworkPolicy',
  false,
);
export const CLUSTER_NETWORK_POLICIES = resource(
  'policy.networking.k8s.io',
  'v1alpha2',
  'clusternetworkpolicies',
  'ClusterNetworkPolicy',
  false,
);
export const CILIUM_IDENTITIES = resource(CILIUM, 'v2', 'ciliumidentities', 'CiliumIdentity', false);
export const CILIUM_ENDPOINTS = resource(CILIUM, 'v2', 'ciliumendpoints', 'CiliumEndpoint', true);
export const CILIUM_NODES = resource(CILIUM, 'v2', 'ciliumnodes', 'CiliumNode', false);
export const CILIUM_CIDR_GROUPS = resource(CILIUM, 'v2', 'ciliumcidrgroups', 'CiliumCIDRGroup', false);
export const CILIUM_CIDR_GROUPS_V2ALPHA1 = resource(
  CILIUM,
  'v2alpha1',
  'ciliumcidrgroups',
  'CiliumCIDRGroup',
  false,
);

/** Policy kinds that have a status, by kind: NetworkPolicy has none. */
export const POLICY_STATUS_RESOURCES: ReadonlyMap<string, ResourceRef<KubeObject>> = new Map(
  [CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES].map((one) => [
    one.kind,
    one as ResourceRef<KubeObject>,
  ]),
);
