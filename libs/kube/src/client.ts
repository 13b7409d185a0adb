// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeConfig } from './config.ts';
import { KubeError } from './errors.ts';
import { apiVersionOf, resourcePath, type ResourceRef } from './resources.ts';
import { Transport, type HttpRequest, type HttpResponse } from './transport.ts';
import type { KubeList, KubeObject } from './wire.ts';

export interface ObjectName {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface ListOptions extends CallOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

export interface WatchOptions extends ListOptions {
  /** Seconds after which the server ends the watch. */
  readonly timeoutSeconds?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  readonly fieldManager?: string | undefined;
  readonly dryRun?: boolean | undefined;
  readonly subresource?: string | undefined;
}

export interface PatchOptions extends WriteOptions {
  /** With `apply`: take over fields that another manager owns. */
  readonly force?: boolean | undefined;
}

export interface DeleteOptions extends CallOptions {
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
}

export type PatchKind = 'json' | 'merge' | 'strategic' | 'apply';

const PATCH_TYPES: Record<PatchKind, string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** How often an answer 429 with Retry-After is waited for. */
const THROTTLE_RETRIES = 5;

/** Typed requests to one API server. Every method rejects with KubeError. */
export class KubeClient {
  readonly config: KubeConfig;
  readonly #transport: Transport;

  constructor(config: KubeConfig) {
    this.config = config;
    this.#transport = new Transport(config);
  }

  get<T extends KubeObject>(ref: ResourceRef<T>, target: ObjectName, options?: CallOptions): Promise<T> {
    return this.#json('GET', resourcePath(ref, target.namespace, target.name), undefined, options);
  }

  /** Like get, but undefined where the object does not exist. */
  async find<T extends KubeObject>(
    ref: ResourceRef<T>,
    target: ObjectName,
    options?: CallOptions,
  ): Promise<T | undefined> {
    try {
      return await this.get(ref, target, options);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  /** One page; without `limit` everything. */
  async list<T extends KubeObject>(ref: ResourceRef<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    const path = resourcePath(ref, options.namespace) + listQuery(options);
    const list = await this.#json<KubeList<T>>('GET', path, undefined, options);
    list.items ??= [];
    list.metadata ??= {};
    return list;
  }

  create<T extends KubeObject>(
    ref: ResourceRef<T>,
    object: NewObject<T>,
    options?: WriteOptions,
  ): Promise<T> {
    const body = { ...object, apiVersion: apiVersionOf(ref), kind: ref.kind };
    const path = resourcePath(ref, object.metadata.namespace) + writeQuery(options);
    return this.#json('POST', path, body, options);
  }

  /** Replaces the object; with a resourceVersion only the version read. */
  update<T extends KubeObject>(ref: ResourceRef<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const body = { ...object, apiVersion: apiVersionOf(ref), kind: ref.kind };
    const path = resourcePath(ref, namespace, name, options.subresource) + writeQuery(options);
    return this.#json('PUT', path, body, options);
  }

  replaceStatus<T extends KubeObject>(ref: ResourceRef<T>, object: T, options?: WriteOptions): Promise<T> {
    return this.update(ref, object, { ...options, subresource: 'status' });
  }

  patch<T extends KubeObject>(
    ref: ResourceRef<T>,
    target: ObjectName,
    kind: PatchKind,
    body: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    const query = writeQuery(kind === 'apply' ? { fieldManager: 'cilium-ts', ...options } : options);
    const path = resourcePath(ref, target.namespace, target.name, options.subresource) + query;
    return this.#json('PATCH', path, body, options, PATCH_TYPES[kind]);
  }

  /** Server-side apply of a whole object. */
  apply<T extends KubeObject>(ref: ResourceRef<T>, object: NewObject<T>, options?: PatchOptions): Promise<T> {
    const body = { ...object, apiVersion: apiVersionOf(ref), kind: ref.kind };
    const { name, namespace } = object.metadata as { name: string; namespace?: string };
    return this.patch(ref, { name, namespace }, 'apply', body, options);
  }

  /** Resolves when the server accepted the deletion; the object may live on until its finalizers are gone. */
  async delete(ref: ResourceRef, target: ObjectName, options: DeleteOptions = {}): Promise<void> {
    const path = resourcePath(ref, target.namespace, target.name);
    await this.#json('DELETE', path, deleteBody(options), options);
  }

  async deleteCollection(ref: ResourceRef, options: ListOptions & DeleteOptions = {}): Promise<void> {
    const path = resourcePath(ref, options.namespace) + listQuery(options);
    await this.#json('DELETE', path, deleteBody(options), options);
  }

  /** Any request with a JSON body and answer. */
  raw<T = unknown>(method: string, path: string, body?: unknown, options?: CallOptions): Promise<T> {
    return this.#json(method, path, body, options);
  }

  /** Any request; the answer as it is, whatever its status. @throws KubeError code 0 */
  request(request: HttpRequest): Promise<HttpResponse> {
    return this.#transport.send(request);
  }

  /** A streaming answer (watch, logs). @throws KubeError for a status other than 200 */
  async stream(request: HttpRequest): Promise<IncomingMessage> {
    const response = await this.#transport.open(request);
    if (response.statusCode === 200) return response;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    throw KubeError.fromResponse(response.statusCode ?? 0, text, `${request.method} ${request.path}`);
  }

  /** Opens a watch; the body is one JSON object per line. */
  watch(ref: ResourceRef, options: WatchOptions): Promise<IncomingMessage> {
    const query = listQuery(options, {
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: options.timeoutSeconds?.toString(),
    });
    const path = resourcePath(ref, options.namespace) + query;
    return this.stream({ method: 'GET', path, signal: options.signal, timeoutMs: options.timeoutMs });
  }

  close(): void {
    this.#transport.close();
  }

  async #json<R>(
    method: string,
    path: string,
    body: unknown,
    options: CallOptions = {},
    contentType = 'application/json',
  ): Promise<R> {
    const request: HttpRequest = {
      method,
      path,
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': contentType } }),
    };
    for (let attempt = 0; ; attempt++) {
      const response = await this.#transport.send(request);
      if (response.status >= 200 && response.status < 300) return parseBody<R>(response.body, method, path);
      const error = KubeError.fromResponse(response.status, response.body, `${method} ${path}`);
      const wait = Number(response.headers['retry-after']);
      if (response.status !== 429 || !(wait >= 0) || attempt >= THROTTLE_RETRIES) throw error;
      await delay(Math.min(wait, 10) * 1000, undefined, options.signal ? { signal: options.signal } : {});
    }
  }
}

/** An object to be created: with a name or with `generateName`. */
export type NewObject<T extends KubeObject> = Omit<T, 'metadata'> & {
  metadata: Partial<T['metadata']>;
};

function parseBody<R>(body: string, method: string, path: string): R {
  if (body === '') return {} as R;
  try {
    return JSON.parse(body) as R;
  } catch (error) {
    throw KubeError.unreachable(`${method} ${path}: the answer is not JSON`, error);
  }
}

function query(values: Record<string, string | undefined>): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== '') parts.push(`${key}=${encodeURIComponent(value)}`);
  }
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

function listQuery(options: ListOptions, more: Record<string, string | undefined> = {}): string {
  return query({
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    limit: options.limit?.toString(),
    continue: options.continue,
    resourceVersion: options.resourceVersion,
    ...more,
  });
}

function writeQuery(options: PatchOptions = {}): string {
  return query({
    fieldManager: options.fieldManager,
    dryRun: options.dryRun ? 'All' : undefined,
    force: options.force ? 'true' : undefined,
  });
}

function deleteBody(options: DeleteOptions): unknown {
  const { propagationPolicy, gracePeriodSeconds, preconditions } = options;
  if (propagationPolicy === undefined && gracePeriodSeconds === undefined && preconditions === undefined) {
    return undefined;
  }
  return { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy, gracePeriodSeconds, preconditions };
}
