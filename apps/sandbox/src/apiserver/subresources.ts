// SPDX-License-Identifier: Apache-2.0
import type { Authenticator } from './authentication.ts';
import type { Call } from './call.ts';
import { compilePath } from './custom-resources.ts';
import { type Dict, type KubeObject, type Resource } from './model.ts';
import type { Objects } from './objects.ts';
import { patched, sendObject, writeOptions } from './rest.ts';
import { selectorText } from './selectors.ts';
import { ApiError, badRequest, conflict, methodNotAllowed } from './status.ts';
import { asDict, mediaType, parseBody, readBody, sendJson } from './wire.ts';

const SUCCESS = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };

async function body(call: Call): Promise<Dict> {
  return asDict(parseBody(await readBody(call.request), mediaType(call.request)));
}

function scaleOf(resource: Resource, object: KubeObject): Dict {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const paths = resource.scalePaths;
  const read = (path: string | undefined): unknown => (path ? compilePath(path)(object)[0] : undefined);
  const selector = paths ? read(paths.selector) : selectorText((object.spec?.selector ?? {}) as Dict);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: (paths ? read(paths.spec) : object.spec?.replicas) ?? 0 },
    status: {
      replicas: (paths ? read(paths.status) : object.status?.replicas) ?? 0,
      ...(selector ? { selector } : {}),
    },
  };
}

const SCALE: Resource = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  plural: 'scales',
  singular: 'scale',
  shortNames: [],
  categories: [],
  namespaced: true,
  subresources: [],
  typeName: 'autoscaling.Scale',
  columns: [],
  storage: 'autoscaling/scales',
};

async function scale(objects: Objects, call: Call): Promise<void> {
  const { resource, method } = call;
  const old = objects.require(resource, call.namespace, call.name!);
  if (method === 'GET') return sendJson(call.response, 200, scaleOf(resource, old));
  if (method !== 'PUT' && method !== 'PATCH') throw methodNotAllowed();
  const given = await body(call).catch((error: unknown) => {
    throw error;
  });
  const current = scaleOf(resource, old) as KubeObject;
  const type = mediaType(call.request);
  const wanted =
    method === 'PUT' ? given : type.includes('apply-patch') ? given : patched(type, current, given, SCALE);
  const version = wanted.metadata?.resourceVersion as string | undefined;
  if (version && version !== old.metadata.resourceVersion)
    throw conflict(
      resource,
      call.name!,
      'the object has been modified; please apply your changes to the latest version and try again',
    );
  const replicas = (wanted.spec?.replicas ?? 0) as unknown;
  if (!Number.isInteger(replicas) || (replicas as number) < 0)
    throw new ApiError(
      422,
      'Invalid',
      `Scale.autoscaling "${call.name}" is invalid: spec.replicas: Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
    );
  const next = structuredClone(old);
  const path = resource.scalePaths?.spec.replace(/^\./, '').split('.') ?? ['spec', 'replicas'];
  let target: Dict = next;
  for (const key of path.slice(0, -1)) target = (target[key] ??= {}) as Dict;
  target[path.at(-1)!] = replicas;
  const { subresource: _scale, ...options } = writeOptions(call);
  sendJson(call.response, 200, scaleOf(resource, objects.update(resource, old, next, options)));
}

/** Binds a pod to a node; the scheduler's write. */
function bind(objects: Objects, call: Call, pod: string, target: Dict | undefined): void {
  const node = target?.name as string | undefined;
  if (!node) throw badRequest('Binding "" is invalid: target.name: Required value');
  const resource = objects.registry.find('', 'v1', 'pods')!;
  const old = objects.require(resource, call.namespace, pod);
  if (old.metadata.deletionTimestamp)
    throw conflict(resource, pod, `pod ${pod} is being deleted, cannot be assigned to a host`);
  if (old.spec.nodeName)
    throw conflict(resource, pod, `pod ${pod} is already assigned to node "${old.spec.nodeName}"`);
  const conditions = ((old.status?.conditions ?? []) as Dict[]).filter(
    (item) => item.type !== 'PodScheduled',
  );
  const scheduled = {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: new Date().toISOString().replace(/\.\d+Z/, 'Z'),
  };
  const next: KubeObject = {
    ...old,
    metadata: { ...old.metadata },
    spec: { ...(old.spec as Dict), nodeName: node },
    status: { ...(old.status as Dict), conditions: [...conditions, scheduled] },
  };
  if (!writeOptions(call).dryRun) objects.store.put('/pods', next);
  sendJson(call.response, 201, SUCCESS);
}

async function evict(objects: Objects, call: Call): Promise<void> {
  const { deleteOptions = {} } = await body(call);
  const pod = objects.require(call.resource, call.namespace, call.name!);
  const budget = objects.store.list('policy/poddisruptionbudgets', call.namespace).find((item) => {
    const labels = (item.spec?.selector?.matchLabels ?? {}) as Record<string, string>;
    return Object.entries(labels).every(([key, value]) => pod.metadata.labels?.[key] === value);
  });
  if (budget && budget.status?.disruptionsAllowed === 0)
    throw new ApiError(
      429,
      'TooManyRequests',
      "Cannot evict pod as it would violate the pod's disruption budget.",
      {
        causes: [
          {
            reason: 'DisruptionBudget',
            message: `The disruption budget ${budget.metadata.name} allows no disruption now`,
          },
        ],
      },
    );
  objects.delete(call.resource, pod, { ...(deleteOptions as Dict), dryRun: writeOptions(call).dryRun });
  sendJson(call.response, 201, SUCCESS);
}

async function token(objects: Objects, authenticator: Authenticator, call: Call): Promise<void> {
  const request = await body(call);
  const serviceAccount = objects.require(call.resource, call.namespace, call.name!);
  const spec = (request.spec ?? {}) as Dict;
  const seconds = Math.max(600, Number(spec.expirationSeconds ?? 3600));
  const bound = spec.boundObjectRef as { kind: string; name: string; uid?: string } | undefined;
  const audiences = (spec.audiences ?? []) as string[];
  const object =
    bound && objects.store.get(bound.kind === 'Pod' ? '/pods' : '/secrets', call.namespace!, bound.name);
  if (bound && !object)
    throw new ApiError(404, 'NotFound', `${bound.kind.toLowerCase()}s "${bound.name}" not found`);
  const boundObject =
    bound && object ? { kind: bound.kind, name: bound.name, uid: object.metadata.uid } : undefined;
  const minted = authenticator.mint({
    serviceAccount,
    audiences,
    seconds,
    ...(boundObject ? { boundObject } : {}),
  });
  sendJson(call.response, 201, {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name: call.name, namespace: call.namespace },
    spec: { ...spec, expirationSeconds: seconds },
    status: { token: minted.token, expirationTimestamp: minted.expires },
  });
}

/** A namespace ends when its controller takes the last finalizer away here. */
async function finalize(objects: Objects, call: Call): Promise<void> {
  const given = await body(call);
  const old = objects.require(call.resource, undefined, call.name!);
  const next: KubeObject = {
    ...old,
    metadata: { ...old.metadata },
    spec: { ...(old.spec as Dict), finalizers: (given.spec?.finalizers ?? []) as string[] },
  };
  const { subresource: _finalize, ...options } = writeOptions(call);
  sendObject(call, 200, objects.update(call.resource, old, next, options));
}

/** Subresources other than status. Returns false for those it does not know. */
export async function serveSubresource(
  objects: Objects,
  authenticator: Authenticator,
  call: Call,
): Promise<boolean> {
  const { subresource, method, resource } = call;
  if (subresource === undefined || !resource.subresources.includes(subresource)) return false;
  if (subresource === 'scale') await scale(objects, call);
  else if (subresource === 'binding' && method === 'POST')
    bind(objects, call, call.name!, (await body(call)).target as Dict);
  else if (subresource === 'eviction' && method === 'POST') await evict(objects, call);
  else if (subresource === 'token' && method === 'POST') await token(objects, authenticator, call);
  else if (subresource === 'finalize' && method === 'PUT') await finalize(objects, call);
  else return false;
  return true;
}

/** `POST /api/v1/namespaces/NS/bindings`, the older way to bind. */
export async function serveBinding(objects: Objects, call: Call): Promise<void> {
  const binding = await body(call);
  bind(objects, call, String(binding.metadata?.name), binding.target as Dict);
}
