// SPDX-License-Identifier: Apache-2.0
import type { Call } from './call.ts';
import { applyConfiguration } from './managed-fields.ts';
import { apiVersionOf, jsonEqual, type Dict, type KubeObject, type Resource } from './model.ts';
import { jsonPatch, mergePatch } from './json-patch.ts';
import type { DeleteOptions, Objects, WriteOptions } from './objects.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';
import { ApiError, badRequest, deletedStatus, invalid, field, methodNotAllowed, notFound } from './status.ts';
import { strategicPatch } from './strategic-patch.ts';
import { table, type IncludeObject } from './table.ts';
import {
  asDict,
  encodeObject,
  mediaType,
  parseBody,
  readBody,
  sendJson,
  viewOf,
  wantsTable,
} from './wire.ts';
import { serveWatch } from './watch.ts';

/** Warnings of a call, sent as headers with its answer. */
export function writeOptions(call: Call): WriteOptions {
  const { query, request, response } = call;
  const warnings: string[] = [];
  const dryRun = query.getAll('dryRun');
  if (dryRun.length > 0 && dryRun.some((value) => value !== 'All' && value !== ''))
    throw badRequest(
      `dryRun: Unsupported value: ${JSON.stringify(dryRun.join(','))}: supported values: "All"`,
    );
  const validation = query.get('fieldValidation') ?? 'Warn';
  if (validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore')
    throw badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  const agent = String(request.headers['user-agent'] ?? 'unknown').split('/')[0]!;
  return {
    dryRun: dryRun.includes('All'),
    manager: query.get('fieldManager') || agent,
    validation,
    ...(call.subresource ? { subresource: call.subresource } : {}),
    warn: (text) => {
      warnings.push(`299 - ${JSON.stringify(text)}`);
      response.setHeader('Warning', warnings);
    },
  };
}

function includeObject(call: Call): IncludeObject {
  const asked = call.query.get('includeObject');
  return asked === 'Object' || asked === 'None' ? asked : 'Metadata';
}

/** Answers with one object, as JSON or as a one-row table. */
export function sendObject(call: Call, code: number, object: KubeObject): void {
  const { resource, response, request } = call;
  if (wantsTable(String(request.headers.accept ?? '')) && request.method === 'GET')
    sendJson(
      response,
      code,
      table([object], resource, includeObject(call), { resourceVersion: object.metadata.resourceVersion }),
    );
  else if (object.metadata.resourceVersion) sendJson(response, code, encodeObject(object, resource));
  else sendJson(response, code, viewOf(object, resource));
}

function selection(call: Call): (object: KubeObject) => boolean {
  const labels = call.query.get('labelSelector');
  const fields = call.query.get('fieldSelector');
  const byLabels = labels ? parseLabelSelector(labels) : null;
  const byFields = fields ? parseFieldSelector(fields, call.resource.storage) : null;
  const { name } = call;
  return (object) =>
    (!name || object.metadata.name === name) &&
    (!byLabels || byLabels(object.metadata.labels ?? {})) &&
    (!byFields || byFields(object));
}

function watch(objects: Objects, call: Call): void {
  const { query, resource, namespace } = call;
  serveWatch(
    objects.store,
    {
      resource,
      namespace,
      matches: selection(call),
      resourceVersion: query.get('resourceVersion') ?? '',
      bookmarks: query.get('allowWatchBookmarks') === 'true' || query.get('allowWatchBookmarks') === '1',
      sendInitialEvents: query.get('sendInitialEvents') === 'true',
      timeoutSeconds: Number(query.get('timeoutSeconds')) || 1800 + Math.floor(Math.random() * 1800),
      table: wantsTable(String(call.request.headers.accept ?? '')) ? includeObject(call) : null,
    },
    call.response,
  );
}

function list(objects: Objects, call: Call): void {
  const { resource, namespace, query, response } = call;
  const matches = selection(call);
  const start = decodeContinue(query.get('continue'));
  let found = objects.store.list(resource.storage, namespace).filter(matches);
  if (start) found = found.filter((object) => keyOf(object) > start);
  const limit = Number(query.get('limit') ?? 0);
  const page = limit > 0 ? found.slice(0, limit) : found;
  const metadata: Dict = { resourceVersion: String(objects.store.revision) };
  if (page.length < found.length) {
    metadata.continue = Buffer.from(JSON.stringify(keyOf(page.at(-1)!))).toString('base64url');
    metadata.remainingItemCount = found.length - page.length;
  }
  if (wantsTable(String(call.request.headers.accept ?? ''))) {
    sendJson(response, 200, table(page, resource, includeObject(call), metadata));
    return;
  }
  const head = JSON.stringify({ kind: `${resource.kind}List`, apiVersion: apiVersionOf(resource), metadata });
  const items = page.map((object) => encodeObject(object, resource)).join(',');
  sendJson(response, 200, `${head.slice(0, -1)},"items":[${items}]}`);
}

const keyOf = (object: KubeObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

function decodeContinue(token: string | null): string | null {
  if (!token) return null;
  try {
    return String(JSON.parse(Buffer.from(token, 'base64url').toString()));
  } catch {
    throw badRequest('the continue token is not one of this server');
  }
}

/** Checks that a body is of the resource's kind and belongs where it was sent. */
function checkBody(call: Call, body: Dict): void {
  const { resource, namespace } = call;
  const expected = apiVersionOf(resource);
  if ((body.apiVersion && body.apiVersion !== expected) || (body.kind && body.kind !== resource.kind))
    throw badRequest(
      `the API version in the data (${body.apiVersion}, kind ${body.kind}) does not match the expected API version (${expected}, kind ${resource.kind})`,
    );
  const given = body.metadata?.namespace as string | undefined;
  if (resource.namespaced && given && given !== namespace)
    throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
}

async function create(objects: Objects, call: Call): Promise<void> {
  const body = asDict(parseBody(await readBody(call.request), mediaType(call.request)));
  checkBody(call, body);
  if (call.name && !body.metadata?.name) body.metadata = { ...(body.metadata as Dict), name: call.name };
  sendObject(call, 201, objects.create(call.resource, call.namespace, body, writeOptions(call)));
}

async function update(objects: Objects, call: Call): Promise<void> {
  const body = asDict(parseBody(await readBody(call.request), mediaType(call.request)));
  checkBody(call, body);
  const { resource, namespace, name } = call;
  if (body.metadata?.name && body.metadata.name !== name)
    throw badRequest(
      `the name of the object (${body.metadata.name}) does not match the name on the URL (${name})`,
    );
  const old = objects.store.get(resource.storage, namespace ?? '', name!);
  if (!old) throw notFound(resource, name!);
  if (!body.metadata?.resourceVersion && resource.schema && call.subresource !== 'status')
    throw invalid(resource, name!, [
      field.invalid('metadata.resourceVersion', 0, 'must be specified for an update'),
    ]);
  sendObject(call, 200, objects.update(resource, old, body, writeOptions(call)));
}

/** The patched form of `old`, not yet admitted. */
export function patched(type: string, old: KubeObject, patch: unknown, resource: Resource): Dict {
  const seen = viewOf(old, resource);
  if (type === 'application/json-patch+json') return jsonPatch(seen, patch);
  if (type === 'application/merge-patch+json') return asDict(mergePatch(seen, asDict(patch)));
  if (type === 'application/strategic-merge-patch+json') {
    if (!resource.typeName)
      throw unsupportedPatch(
        'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
      );
    return strategicPatch(seen, asDict(patch), resource.typeName);
  }
  throw unsupportedPatch(`patch type ${type} is not supported`);
}

function unsupportedPatch(message: string): ApiError {
  return new ApiError(415, 'UnsupportedMediaType', message);
}

async function patch(objects: Objects, call: Call): Promise<void> {
  const type = mediaType(call.request);
  const body = parseBody(await readBody(call.request), type);
  const { resource, namespace, name } = call;
  const old = objects.store.get(resource.storage, namespace ?? '', name!);
  if (type === 'application/apply-patch+yaml' || type === 'application/apply-patch+cbor')
    return apply(objects, call, asDict(body), old);
  if (!old) throw notFound(resource, name!);
  const next = patched(type, old, body, resource);
  if (next.metadata?.name !== name) throw badRequest('a patch may not change metadata.name');
  sendObject(call, 200, objects.update(resource, old, next, writeOptions(call)));
}

function apply(objects: Objects, call: Call, config: Dict, old: KubeObject | undefined): void {
  const { resource, namespace, name, query } = call;
  const options = writeOptions(call);
  if (!query.get('fieldManager'))
    throw badRequest(
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    );
  checkBody(call, config);
  if (!config.apiVersion || !config.kind)
    throw badRequest('an apply configuration needs apiVersion and kind');
  if (config.metadata?.managedFields?.length) throw badRequest('metadata.managedFields must be nil');
  if (config.metadata?.name && config.metadata.name !== name)
    throw badRequest(
      `the name of the object (${config.metadata.name}) does not match the name on the URL (${name})`,
    );
  config.metadata = { ...(config.metadata as Dict), name };
  if (old === undefined && call.subresource) throw notFound(resource, name!);
  const force = query.get('force') === 'true' || query.get('force') === '1';
  const live = old ? viewOf(old, resource) : null;
  const write = {
    manager: options.manager,
    force,
    ...(options.subresource ? { subresource: options.subresource } : {}),
  };
  const applied = applyConfiguration(resource, live, config, write);
  // Nothing but the time of the manager's entry would change.
  const managedFields = keepTimes(applied.managedFields, old?.metadata.managedFields ?? []);
  const withFields = { ...options, managedFields };
  if (!old) sendObject(call, 201, objects.create(resource, namespace, applied.object, withFields));
  else sendObject(call, 200, objects.update(resource, old, applied.object, withFields));
}

function keepTimes(entries: Dict[], before: readonly Dict[]): Dict[] {
  return entries.map(
    (entry) => before.find((old) => jsonEqual({ ...old, time: entry.time as unknown }, entry)) ?? entry,
  );
}

async function deleteOptions(call: Call): Promise<DeleteOptions> {
  const body = asDict(parseBody(await readBody(call.request), mediaType(call.request)));
  const { query } = call;
  const grace = query.get('gracePeriodSeconds');
  const policy = query.get('propagationPolicy');
  const dryRun = query.getAll('dryRun').includes('All') || ((body.dryRun ?? []) as string[]).includes('All');
  return {
    ...(body as DeleteOptions),
    ...(grace !== null ? { gracePeriodSeconds: Number(grace) } : {}),
    ...(policy !== null ? { propagationPolicy: policy } : {}),
    dryRun,
  };
}

async function remove(objects: Objects, call: Call): Promise<void> {
  const options = await deleteOptions(call);
  const old = objects.require(call.resource, call.namespace, call.name!);
  const { object, gone } = objects.delete(call.resource, old, options);
  if (gone && call.resource.storage !== '/pods') {
    sendJson(call.response, 200, deletedStatus(call.resource, call.name!, object.metadata.uid));
  } else sendJson(call.response, 200, viewOf(object, call.resource));
}

async function removeAll(objects: Objects, call: Call): Promise<void> {
  const options = await deleteOptions(call);
  const { resource, namespace } = call;
  const found = objects.store.list(resource.storage, namespace).filter(selection(call));
  for (const [index, object] of found.entries()) {
    // Thousands of deletes would hold up everybody else.
    if (index % 50 === 49) await new Promise((resolve) => setImmediate(resolve));
    const current = objects.store.get(
      resource.storage,
      object.metadata.namespace ?? '',
      object.metadata.name,
    );
    if (current?.metadata.uid === object.metadata.uid) objects.delete(resource, current, options);
  }
  const metadata = { resourceVersion: String(objects.store.revision) };
  const items = found.map((object) => viewOf(object, resource));
  sendJson(call.response, 200, {
    kind: `${resource.kind}List`,
    apiVersion: apiVersionOf(resource),
    metadata,
    items,
  });
}

/** The verbs on objects and collections, and on `/status` and `/finalize`, which are views of the object. */
export async function serveRest(objects: Objects, call: Call): Promise<void> {
  const { method, name, query } = call;
  const watching = query.get('watch') === 'true' || query.get('watch') === '1';
  if (call.resource.namespaced && call.namespace === undefined && (name || method === 'POST'))
    throw notFound(call.resource, name ?? '');
  if (method === 'GET' && watching) return watch(objects, call);
  if (method === 'GET' && !name) return list(objects, call);
  if (method === 'GET') return sendObject(call, 200, objects.require(call.resource, call.namespace, name!));
  if (method === 'POST' && !call.subresource) return create(objects, call);
  if (method === 'PUT' && name) return update(objects, call);
  if (method === 'PATCH' && name) return patch(objects, call);
  if (method === 'DELETE') return name ? remove(objects, call) : removeAll(objects, call);
  throw methodNotAllowed();
}
