// SPDX-License-Identifier: Apache-2.0
import {
  ENDPOINTS,
  ENDPOINT_SLICES,
  SERVICES,
  keyOf,
  matchesLabels,
  type EndpointSlice,
  type Endpoints,
  type Pod,
  type Service,
} from '@cilium-ts/kube';
import { canonicalJson, sameJson } from './canonical.ts';
import { createQueue, ignoreMissing, type Context, type Controller } from './context.ts';
import { endpointGroups, isHeadless, type EndpointGroup } from './endpoints-model.ts';
import { ownerReference } from './pods.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const OURS = 'endpointslice-controller.k8s.io';
const HEADLESS = 'service.kubernetes.io/headless';
/** Endpoints of one slice. */
const SLICE_SIZE = 100;

/** Writes EndpointSlices and Endpoints for services with a selector. */
export function endpointSliceController(context: Context): Controller {
  const queue = createQueue(context, 'endpointslice', (key) => syncService(context, key), 8);
  return {
    start() {
      context.services.onChange((service) => queue.add(keyOf(service)));
      context.pods.onChange((pod, old) => {
        if (old && sameJson(relevant(old), relevant(pod))) return;
        for (const service of context.services.inNamespace(pod.metadata.namespace)) {
          if (selects(service, pod) || (old && selects(service, old))) queue.add(keyOf(service));
        }
      });
      context.endpointSlices.onChange((slice) => {
        const name = slice.metadata.labels?.[SERVICE_NAME];
        if (name && slice.metadata.labels?.[MANAGED_BY] === OURS)
          queue.add(`${slice.metadata.namespace}/${name}`);
      });
    },
    stop: () => queue.stop(),
  };
}

/** What of a pod its endpoints show. */
function relevant(pod: Pod): unknown {
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const { labels, deletionTimestamp } = pod.metadata;
  const { podIP, podIPs, phase } = pod.status ?? {};
  return [labels, deletionTimestamp, podIP, podIPs, phase, ready, pod.spec?.nodeName, pod.spec?.hostname];
}

function selects(service: Service, pod: Pod): boolean {
  const selector = service.spec?.selector;
  return (
    selector !== undefined && Object.keys(selector).length > 0 && matchesLabels(selector, pod.metadata.labels)
  );
}

async function syncService(context: Context, key: string): Promise<void> {
  const service = context.services.store.get(key);
  const namespace = key.slice(0, key.indexOf('/'));
  const name = key.slice(namespace.length + 1);
  const existing = context.endpointSlices
    .inNamespace(namespace)
    .filter(
      ({ metadata }) => metadata.labels?.[SERVICE_NAME] === name && metadata.labels[MANAGED_BY] === OURS,
    );
  const selector = service?.spec?.selector;
  const hasSelector = selector !== undefined && Object.keys(selector).length > 0;
  if (!service || service.metadata.deletionTimestamp !== undefined || service.spec?.type === 'ExternalName') {
    for (const slice of existing) await ignoreMissing(context.client.delete(ENDPOINT_SLICES, slice.metadata));
    const legacy = context.endpoints.store.get(key);
    if (!service && legacy) await ignoreMissing(context.client.delete(ENDPOINTS, legacy.metadata));
    return;
  }
  if (!hasSelector) return;
  const pods = context.pods.inNamespace(namespace).filter((pod) => selects(service, pod));
  const zoneOf = (node: string | undefined): string | undefined =>
    node === undefined
      ? undefined
      : context.nodes.store.get(node)?.metadata.labels?.['topology.kubernetes.io/zone'];
  const groups = endpointGroups(service, pods, zoneOf);
  await Promise.all([
    writeSlices(context, service, groups, existing),
    writeEndpoints(context, service, groups),
  ]);
}

async function writeSlices(
  context: Context,
  service: Service,
  groups: readonly EndpointGroup[],
  existing: readonly EndpointSlice[],
): Promise<void> {
  const free = new Set(existing.filter((slice) => slice.metadata.deletionTimestamp === undefined));
  const made: EndpointSlice[] = [];
  const updated: EndpointSlice[] = [];
  for (const group of groups) {
    for (let from = 0; from === 0 || from < group.endpoints.length; from += SLICE_SIZE) {
      const wanted = sliceBody(service, group, from);
      const reusable = reuse(free, group, wanted);
      if (!reusable) {
        const metadata = { ...wanted.metadata, generateName: `${service.metadata.name}-` };
        made.push(await context.client.create(ENDPOINT_SLICES, { ...wanted, metadata }));
        continue;
      }
      free.delete(reusable);
      if (isCurrent(reusable, wanted)) continue;
      const metadata = { ...reusable.metadata, labels: wanted.metadata.labels };
      updated.push(await context.client.update(ENDPOINT_SLICES, { ...reusable, ...wanted, metadata }));
    }
  }
  for (const slice of free) await ignoreMissing(context.client.delete(ENDPOINT_SLICES, slice.metadata));
  await context.endpointSlices.until(() => [...made, ...updated].every((slice) => sawSlice(context, slice)));
}

function sawSlice(context: Context, slice: EndpointSlice): boolean {
  const seen = Number(context.endpointSlices.store.get(keyOf(slice))?.metadata.resourceVersion ?? 0);
  return seen >= Number(slice.metadata.resourceVersion);
}

type SliceBody = Omit<EndpointSlice, 'metadata'> & { metadata: Partial<EndpointSlice['metadata']> };

function sliceBody(service: Service, group: EndpointGroup, from: number): SliceBody {
  return {
    metadata: {
      namespace: service.metadata.namespace,
      labels: {
        ...service.metadata.labels,
        [SERVICE_NAME]: service.metadata.name,
        [MANAGED_BY]: OURS,
        ...(isHeadless(service) ? { [HEADLESS]: '' } : {}),
      },
      ownerReferences: [ownerReference(SERVICES, service)],
    },
    addressType: group.addressType,
    endpoints: group.endpoints.slice(from, from + SLICE_SIZE),
    ports: group.ports.map((port) => ({ ...port })),
  };
}

/** A slice with the same ports goes before another of the family, so that watchers see few changes. */
function reuse(
  free: ReadonlySet<EndpointSlice>,
  group: EndpointGroup,
  wanted: SliceBody,
): EndpointSlice | undefined {
  const family = [...free].filter((slice) => slice.addressType === group.addressType);
  const ports = canonicalJson(group.ports);
  return (
    family.find((slice) => isCurrent(slice, wanted)) ??
    family.find((slice) => canonicalJson(slice.ports ?? []) === ports) ??
    family[0]
  );
}

function isCurrent(slice: EndpointSlice, wanted: SliceBody): boolean {
  return (
    sameJson(slice.ports ?? [], wanted.ports) &&
    sameJson(slice.endpoints ?? [], wanted.endpoints) &&
    sameJson(slice.metadata.labels, wanted.metadata.labels)
  );
}

/** The older object with the same content, of the service's first family only. */
async function writeEndpoints(
  context: Context,
  service: Service,
  groups: readonly EndpointGroup[],
): Promise<void> {
  const family = groups[0]?.addressType;
  const subsets: NonNullable<Endpoints['subsets']> = [];
  for (const group of groups) {
    if (group.addressType !== family || group.endpoints.length === 0) continue;
    const address = (endpoint: EndpointGroup['endpoints'][number]) => ({
      ip: endpoint.addresses[0]!,
      ...(endpoint.hostname ? { hostname: endpoint.hostname } : {}),
      ...(endpoint.nodeName ? { nodeName: endpoint.nodeName } : {}),
      targetRef: endpoint.targetRef,
    });
    const staying = group.endpoints.filter(({ conditions }) => !conditions?.terminating);
    const ready = staying.filter(({ conditions }) => conditions?.ready).map(address);
    const notReady = staying.filter(({ conditions }) => !conditions?.ready).map(address);
    if (ready.length + notReady.length === 0) continue;
    subsets.push({
      ...(ready.length > 0 ? { addresses: ready } : {}),
      ...(notReady.length > 0 ? { notReadyAddresses: notReady } : {}),
      ports: group.ports.map(({ name, ...port }) => (name === '' ? port : { name, ...port })),
    });
  }
  const labels = {
    ...service.metadata.labels,
    'endpoints.kubernetes.io/managed-by': 'endpoint-controller',
    ...(isHeadless(service) ? { [HEADLESS]: '' } : {}),
  };
  const old = context.endpoints.store.get(keyOf(service));
  const { name, namespace } = service.metadata;
  if (!old) {
    const made = await context.client.create(ENDPOINTS, { metadata: { name, namespace, labels }, subsets });
    await context.endpoints.until(() => context.endpoints.store.get(keyOf(made)) !== undefined);
  } else if (!sameJson(old.subsets ?? [], subsets) || !sameJson(old.metadata.labels, labels)) {
    await context.client.update(ENDPOINTS, { ...old, metadata: { ...old.metadata, labels }, subsets });
  }
}
