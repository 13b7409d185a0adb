// SPDX-License-Identifier: Apache-2.0
import { columnsFor } from './columns.ts';
import { eventFromCore, eventToCore } from './event-versions.ts';
import { rulesFor } from './kind-rules.ts';
import type { Resource } from './model.ts';
import { tableGroup } from './protobuf.ts';

interface Row {
  readonly kind: string;
  readonly plural: string;
  readonly short?: string;
  /** Cluster-wide kinds set this. */
  readonly cluster?: boolean;
  readonly all?: boolean;
  readonly sub?: string;
  readonly transient?: boolean;
}

const GROUPS: Readonly<Record<string, readonly Row[]>> = {
  v1: [
    { kind: 'Namespace', plural: 'namespaces', short: 'ns', cluster: true, sub: 'status,finalize' },
    { kind: 'Node', plural: 'nodes', short: 'no', cluster: true, sub: 'status' },
    {
      kind: 'Pod',
      plural: 'pods',
      short: 'po',
      all: true,
      sub: 'status,binding,eviction,exec,attach,log,portforward,ephemeralcontainers',
    },
    { kind: 'Service', plural: 'services', short: 'svc', all: true, sub: 'status' },
    { kind: 'Endpoints', plural: 'endpoints', short: 'ep' },
    { kind: 'ConfigMap', plural: 'configmaps', short: 'cm' },
    { kind: 'Secret', plural: 'secrets' },
    { kind: 'ServiceAccount', plural: 'serviceaccounts', short: 'sa', sub: 'token' },
    { kind: 'Event', plural: 'events', short: 'ev' },
    { kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', short: 'pvc', sub: 'status' },
    { kind: 'Binding', plural: 'bindings', transient: true },
  ],
  'apps/v1': [
    { kind: 'Deployment', plural: 'deployments', short: 'deploy', all: true, sub: 'status,scale' },
    { kind: 'ReplicaSet', plural: 'replicasets', short: 'rs', all: true, sub: 'status,scale' },
    { kind: 'DaemonSet', plural: 'daemonsets', short: 'ds', all: true, sub: 'status' },
    { kind: 'StatefulSet', plural: 'statefulsets', short: 'sts', all: true, sub: 'status,scale' },
    { kind: 'ControllerRevision', plural: 'controllerrevisions' },
  ],
  'batch/v1': [{ kind: 'Job', plural: 'jobs', all: true, sub: 'status' }],
  'discovery.k8s.io/v1': [{ kind: 'EndpointSlice', plural: 'endpointslices' }],
  'networking.k8s.io/v1': [
    { kind: 'NetworkPolicy', plural: 'networkpolicies', short: 'netpol' },
    { kind: 'Ingress', plural: 'ingresses', short: 'ing', sub: 'status' },
    { kind: 'IngressClass', plural: 'ingressclasses', cluster: true },
  ],
  'rbac.authorization.k8s.io/v1': [
    { kind: 'Role', plural: 'roles' },
    { kind: 'RoleBinding', plural: 'rolebindings' },
    { kind: 'ClusterRole', plural: 'clusterroles', cluster: true },
    { kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', cluster: true },
  ],
  'coordination.k8s.io/v1': [{ kind: 'Lease', plural: 'leases' }],
  'policy/v1': [{ kind: 'PodDisruptionBudget', plural: 'poddisruptionbudgets', short: 'pdb', sub: 'status' }],
  'events.k8s.io/v1': [{ kind: 'Event', plural: 'events', short: 'ev' }],
  'scheduling.k8s.io/v1': [{ kind: 'PriorityClass', plural: 'priorityclasses', short: 'pc', cluster: true }],
  'apiextensions.k8s.io/v1': [
    {
      kind: 'CustomResourceDefinition',
      plural: 'customresourcedefinitions',
      short: 'crd,crds',
      cluster: true,
      sub: 'status',
    },
  ],
  'authentication.k8s.io/v1': [
    { kind: 'TokenReview', plural: 'tokenreviews', cluster: true, transient: true },
    { kind: 'SelfSubjectReview', plural: 'selfsubjectreviews', cluster: true, transient: true },
  ],
  'authorization.k8s.io/v1': [
    { kind: 'SelfSubjectAccessReview', plural: 'selfsubjectaccessreviews', cluster: true, transient: true },
    { kind: 'SubjectAccessReview', plural: 'subjectaccessreviews', cluster: true, transient: true },
    { kind: 'SelfSubjectRulesReview', plural: 'selfsubjectrulesreviews', cluster: true, transient: true },
    { kind: 'LocalSubjectAccessReview', plural: 'localsubjectaccessreviews', transient: true },
  ],
};

function resourceOf(apiVersion: string, row: Row): Resource {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const isNewEvent = group === 'events.k8s.io';
  const rules = isNewEvent ? undefined : rulesFor(row.kind);
  return {
    group: group!,
    version: version!,
    kind: row.kind,
    plural: row.plural,
    singular: row.kind.toLowerCase(),
    shortNames: row.short?.split(',') ?? [],
    categories: row.all ? ['all'] : row.kind === 'CustomResourceDefinition' ? ['api-extensions'] : [],
    namespaced: !row.cluster,
    subresources: row.sub?.split(',') ?? [],
    typeName: `${tableGroup(apiVersion)}.${row.kind}`,
    columns: columnsFor(isNewEvent ? 'Event' : row.kind),
    storage: isNewEvent ? '/events' : `${group}/${row.plural}`,
    ...(row.transient ? { transient: true } : {}),
    ...(rules ? { rules } : {}),
    ...(isNewEvent ? { fromStored: eventFromCore, toStored: eventToCore } : {}),
  };
}

/** All kinds the server has without custom resource definitions. */
export function builtinResources(): Resource[] {
  return Object.entries(GROUPS).flatMap(([apiVersion, rows]) =>
    rows.map((row) => resourceOf(apiVersion, row)),
  );
}
