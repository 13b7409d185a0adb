// SPDX-License-Identifier: Apache-2.0
import { age, duration } from './ages.ts';
import { podStatusCells } from './pod-cells.ts';
import type { Column, Dict, KubeObject } from './model.ts';
import { selectorText } from './selectors.ts';

type Cell = (object: KubeObject) => unknown;

function column(name: string, cell: Cell, priority = 0, type: Column['type'] = 'string'): Column {
  return { name, type, priority, cell, ...(name === 'Name' ? { format: 'name' } : {}) };
}

const NONE = '<none>';
const name = column('Name', (o) => o.metadata.name);

const ageColumn = column('Age', (o) => age(o.metadata.creationTimestamp));
const selector = (value: Dict | undefined): string => (value && selectorText(value)) || NONE;
const matchText = (labels: Record<string, string> | undefined): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || NONE;
const containersOf = (o: KubeObject): Dict[] => (o.spec?.template?.spec?.containers ?? []) as Dict[];
const workload = [
  column(
    'Containers',
    (o) =>
      containersOf(o)
        .map((c) => c.name)
        .join(','),
    1,
  ),
  column(
    'Images',
    (o) =>
      containersOf(o)
        .map((c) => c.image ?? '')
        .join(','),
    1,
  ),
  column('Selector', (o) => selector(o.spec?.selector), 1),
];
const count = (title: string, read: Cell): Column => column(title, (o) => read(o) ?? 0, 0, 'integer');

function ports(o: KubeObject): string {
  const list = (o.spec?.ports ?? []) as Dict[];
  return (
    list.map((p) => `${p.port}${p.nodePort ? `:${p.nodePort}` : ''}/${p.protocol ?? 'TCP'}`).join(',') || NONE
  );
}

function endpoints(o: KubeObject): string {
  const all = ((o.subsets ?? []) as Dict[]).flatMap((set) =>
    ((set.addresses ?? []) as Dict[]).flatMap((a) =>
      set.ports?.length
        ? (set.ports as Dict[]).map((p) =>
            String(a.ip).includes(':') ? `[${a.ip}]:${p.port}` : `${a.ip}:${p.port}`,
          )
        : [String(a.ip)],
    ),
  );
  return all.length > 3 ? `${all.slice(0, 3).join(',')} + ${all.length - 3} more...` : all.join(',') || NONE;
}

function few(values: readonly string[]): string {
  if (values.length === 0) return '<unset>';
  return values.length > 3
    ? `${values.slice(0, 3).join(',')} + ${values.length - 3} more...`
    : values.join(',');
}

function nodeStatus(o: KubeObject): string {
  const ready = ((o.status?.conditions ?? []) as Dict[]).find((c) => c.type === 'Ready');
  const state = ready ? (ready.status === 'True' ? 'Ready' : 'NotReady') : 'Unknown';
  return o.spec?.unschedulable ? `${state},SchedulingDisabled` : state;
}

function nodeRoles(o: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.keys(o.metadata.labels ?? {}).filter((key) => key.startsWith(prefix));
  return (
    roles
      .map((key) => key.slice(prefix.length))
      .sort()
      .join(',') || NONE
  );
}

const nodeAddress = (o: KubeObject, type: string): string =>
  (((o.status?.addresses ?? []) as Dict[]).find((a) => a.type === type)?.address as string) ?? NONE;

function jobDuration(o: KubeObject): string {
  if (!o.status?.startTime) return '';
  const end = o.status.completionTime ? Date.parse(o.status.completionTime as string) : Date.now();
  return duration((end - Date.parse(o.status.startTime as string)) / 1000);
}

function jobStatus(o: KubeObject): string {
  const conditions = ((o.status?.conditions ?? []) as Dict[]).filter((c) => c.status === 'True');
  const has = (type: string): boolean => conditions.some((c) => c.type === type);
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (o.metadata.deletionTimestamp) return 'Terminating';
  return has('Suspended') ? 'Suspended' : has('FailureTarget') ? 'FailureTarget' : 'Running';
}

function eventSeen(o: KubeObject): string {
  const last = o.series?.lastObservedTime ?? o.lastTimestamp ?? o.eventTime ?? o.metadata.creationTimestamp;
  const first = o.firstTimestamp ?? o.eventTime ?? o.metadata.creationTimestamp;
  const times = Number(o.series?.count ?? o.count ?? 1);
  return times > 1 ? `${age(last)} (x${times} over ${age(first)})` : age(last);
}

const eventObject = (o: KubeObject): string =>
  `${String(o.involvedObject?.kind ?? '').toLowerCase()}/${o.involvedObject?.name ?? ''}`;
const roleRef = (o: KubeObject): string => `${o.roleRef?.kind}/${o.roleRef?.name}`;
const subjects = (o: KubeObject, kind: string): string =>
  ((o.subjects ?? []) as Dict[])
    .filter((s) => s.kind === kind)
    .map((s) => (kind === 'ServiceAccount' ? `${s.namespace}/${s.name}` : s.name))
    .join(', ');
const bindingColumns = [
  name,
  column('Role', roleRef),
  ageColumn,
  column('Users', (o) => subjects(o, 'User'), 1),
  column('Groups', (o) => subjects(o, 'Group'), 1),
  column('ServiceAccounts', (o) => subjects(o, 'ServiceAccount'), 1),
];
const createdAt = column('Created At', (o) => o.metadata.creationTimestamp);
const externalIp = (o: KubeObject): string => {
  const given = ((o.status?.loadBalancer?.ingress ?? []) as Dict[]).map((i) => i.ip ?? i.hostname);
  if (o.spec?.type === 'ExternalName') return String(o.spec.externalName);
  const fixed = (o.spec?.externalIPs ?? []) as string[];
  const all = [...given, ...fixed].join(',');
  return all || (o.spec?.type === 'LoadBalancer' ? '<pending>' : NONE);
};

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  Namespace: [name, column('Status', (o) => o.status?.phase), ageColumn],
  Node: [
    name,
    column('Status', nodeStatus),
    column('Roles', nodeRoles),
    ageColumn,
    column('Version', (o) => o.status?.nodeInfo?.kubeletVersion ?? ''),
    column('Internal-IP', (o) => nodeAddress(o, 'InternalIP'), 1),
    column('External-IP', (o) => nodeAddress(o, 'ExternalIP'), 1),
    column('OS-Image', (o) => o.status?.nodeInfo?.osImage || '<unknown>', 1),
    column('Kernel-Version', (o) => o.status?.nodeInfo?.kernelVersion || '<unknown>', 1),
    column('Container-Runtime', (o) => o.status?.nodeInfo?.containerRuntimeVersion || '<unknown>', 1),
  ],
  Pod: [
    name,
    column('Ready', (o) => podStatusCells(o).ready),
    column('Status', (o) => podStatusCells(o).status),
    column('Restarts', (o) => podStatusCells(o).restarts),
    ageColumn,
    column('IP', (o) => o.status?.podIP ?? NONE, 1),
    column('Node', (o) => o.spec?.nodeName ?? NONE, 1),
    column('Nominated Node', (o) => o.status?.nominatedNodeName ?? NONE, 1),
    column('Readiness Gates', () => NONE, 1),
  ],
  Service: [
    name,
    column('Type', (o) => o.spec?.type),
    column('Cluster-IP', (o) => o.spec?.clusterIP ?? NONE),
    column('External-IP', externalIp),
    column('Port(s)', ports),
    ageColumn,
    column('Selector', (o) => matchText(o.spec?.selector), 1),
  ],
  Endpoints: [name, column('Endpoints', endpoints), ageColumn],
  ConfigMap: [
    name,
    column('Data', (o) => Object.keys(o.data ?? {}).length + Object.keys(o.binaryData ?? {}).length),
    ageColumn,
  ],
  Secret: [
    name,
    column('Type', (o) => o.type),
    column('Data', (o) => Object.keys(o.data ?? {}).length),
    ageColumn,
  ],
  ServiceAccount: [name, column('Secrets', (o) => o.secrets?.length ?? 0), ageColumn],
  Event: [
    column('Last Seen', eventSeen),
    column('Type', (o) => o.type),
    column('Reason', (o) => o.reason),
    column('Object', eventObject),
    column('Subobject', (o) => o.involvedObject?.fieldPath ?? '', 1),
    column(
      'Source',
      (o) => [o.source?.component ?? o.reportingComponent, o.source?.host].filter(Boolean).join(', '),
      1,
    ),
    column('Message', (o) => String(o.message ?? '').trim()),
    column('First Seen', (o) => age(o.firstTimestamp ?? o.eventTime ?? o.metadata.creationTimestamp), 1),
    column('Count', (o) => o.series?.count ?? o.count ?? 1, 1),
    { ...name, priority: 1 },
  ],
  PersistentVolumeClaim: [
    name,
    column('Status', (o) => o.status?.phase ?? 'Pending'),
    column('Volume', (o) => o.spec?.volumeName ?? ''),
    column('Capacity', (o) => o.status?.capacity?.storage ?? ''),
    column('Access Modes', (o) => (o.spec?.accessModes ?? []).join(',')),
    column('StorageClass', (o) => o.spec?.storageClassName ?? ''),
    ageColumn,
  ],
  Deployment: [
    name,
    column('Ready', (o) => `${o.status?.readyReplicas ?? 0}/${o.spec?.replicas ?? 0}`),
    count('Up-to-date', (o) => o.status?.updatedReplicas),
    count('Available', (o) => o.status?.availableReplicas),
    ageColumn,
    ...workload,
  ],
  ReplicaSet: [
    name,
    count('Desired', (o) => o.spec?.replicas),
    count('Current', (o) => o.status?.replicas),
    count('Ready', (o) => o.status?.readyReplicas),
    ageColumn,
    ...workload,
  ],
  DaemonSet: [
    name,
    count('Desired', (o) => o.status?.desiredNumberScheduled),
    count('Current', (o) => o.status?.currentNumberScheduled),
    count('Ready', (o) => o.status?.numberReady),
    count('Up-to-date', (o) => o.status?.updatedNumberScheduled),
    count('Available', (o) => o.status?.numberAvailable),
    column('Node Selector', (o) => matchText(o.spec?.template?.spec?.nodeSelector)),
    ageColumn,
    ...workload,
  ],
  StatefulSet: [
    name,
    column('Ready', (o) => `${o.status?.readyReplicas ?? 0}/${o.spec?.replicas ?? 0}`),
    ageColumn,
    ...workload.slice(0, 2),
  ],
  ControllerRevision: [
    name,
    column('Controller', (o) => {
      const owner = o.metadata.ownerReferences?.find((ref) => ref.controller);
      return owner ? `${String(owner.kind).toLowerCase()}.apps/${owner.name}` : NONE;
    }),
    column('Revision', (o) => o.revision),
    ageColumn,
  ],
  Job: [
    name,
    column('Status', jobStatus),
    column('Completions', (o) => `${o.status?.succeeded ?? 0}/${o.spec?.completions ?? 1}`),
    column('Duration', jobDuration),
    ageColumn,
    ...workload,
  ],
  EndpointSlice: [
    name,
    column('AddressType', (o) => o.addressType),
    column('Ports', (o) => few(((o.ports ?? []) as Dict[]).map((p) => String(p.port ?? '*')))),
    column('Endpoints', (o) => few(((o.endpoints ?? []) as Dict[]).flatMap((e) => e.addresses as string[]))),
    ageColumn,
  ],
  NetworkPolicy: [name, column('Pod-Selector', (o) => selector(o.spec?.podSelector)), ageColumn],
  Ingress: [
    name,
    column('Class', (o) => o.spec?.ingressClassName ?? NONE),
    column('Hosts', (o) => ((o.spec?.rules ?? []) as Dict[]).map((r) => r.host ?? '*').join(',') || '*'),
    column('Address', (o) =>
      ((o.status?.loadBalancer?.ingress ?? []) as Dict[]).map((i) => i.ip ?? i.hostname).join(','),
    ),
    column('Ports', (o) => (o.spec?.tls?.length ? '80, 443' : '80')),
    ageColumn,
  ],
  IngressClass: [
    name,
    column('Controller', (o) => o.spec?.controller),
    column('Parameters', () => NONE),
    ageColumn,
  ],
  Role: [name, createdAt],
  ClusterRole: [name, createdAt],
  RoleBinding: bindingColumns,
  ClusterRoleBinding: bindingColumns,
  Lease: [name, column('Holder', (o) => o.spec?.holderIdentity ?? ''), ageColumn],
  PodDisruptionBudget: [
    name,
    column('Min Available', (o) => o.spec?.minAvailable ?? 'N/A'),
    column('Max Unavailable', (o) => o.spec?.maxUnavailable ?? 'N/A'),
    count('Allowed Disruptions', (o) => o.status?.disruptionsAllowed),
    ageColumn,
  ],
  PriorityClass: [
    name,
    column('Value', (o) => o.value),
    column('Global-Default', (o) => o.globalDefault ?? false),
    ageColumn,
    column('PreemptionPolicy', (o) => o.preemptionPolicy ?? 'PreemptLowerPriority'),
  ],
  CustomResourceDefinition: [name, createdAt],
};

/** Table columns of a built-in kind. */
export function columnsFor(kind: string): readonly Column[] {
  return COLUMNS[kind] ?? [name, ageColumn];
}
