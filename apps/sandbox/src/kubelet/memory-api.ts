// SPDX-License-Identifier: Apache-2.0
// For tests of the kubelet alone: the little of an API server that it talks to, over real HTTP.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubeConfig, UntypedObject } from '@cilium-ts/kube';

type Watcher = (type: string, path: string, object: UntypedObject) => void;

function merge(old: unknown, patch: unknown): unknown {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(old as Record<string, unknown> | undefined) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

const pluralOf = (path: string): string => path.split('/').at(-2) ?? '';

export class MemoryApi {
  readonly #objects = new Map<string, UntypedObject>();
  readonly #history: { type: string; path: string; object: UntypedObject }[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #version = 1;

  async start(): Promise<KubeConfig> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { port } = this.#server.address() as AddressInfo;
    const server = `http://127.0.0.1:${port}`;
    return {
      server,
      ca: 'authority',
      insecureSkipVerify: false,
      authorization: () => undefined,
      source: 'test',
    };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  list(plural: string): UntypedObject[] {
    return [...this.#objects].filter(([path]) => pluralOf(path) === plural).map(([, object]) => object);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api');
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const body =
      text === '' ? undefined : (JSON.parse(text) as UntypedObject & { gracePeriodSeconds?: number });
    const path = url.pathname.replace(/\/status$/, '');
    if (url.searchParams.has('watch')) return this.#watch(url, response);
    const [code, answer] = this.#handle(request.method ?? 'GET', path, body);
    response.writeHead(code, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  }

  #handle(
    method: string,
    path: string,
    body: (UntypedObject & { gracePeriodSeconds?: number }) | undefined,
  ): [number, unknown] {
    const token = /namespaces\/[^/]+\/serviceaccounts\/[^/]+\/token$/.test(path);
    if (token) {
      const { boundObjectRef } = body?.spec as { boundObjectRef: { name: string } };
      const expirationTimestamp = new Date(Date.now() + 3_600_000).toISOString();
      return [201, { status: { token: `token-of-${boundObjectRef.name}`, expirationTimestamp } }];
    }
    if (method === 'POST' && body) return this.#create(path, body);
    const object = this.#objects.get(path);
    if (method === 'GET' && !object && /s$/.test(path)) {
      const items = this.list(path.split('/').at(-1) ?? '');
      return [200, { metadata: { resourceVersion: String(this.#version) }, items }];
    }
    if (!object) return [404, { kind: 'Status', reason: 'NotFound', message: `${path} not found` }];
    if (method === 'PATCH') return [200, this.#put('MODIFIED', path, merge(object, body) as UntypedObject)];
    if (method === 'DELETE') return this.#delete(path, object, body?.gracePeriodSeconds ?? 30);
    return [200, object];
  }

  #create(collection: string, body: UntypedObject): [number, unknown] {
    const path = `${collection}/${body.metadata.name}`;
    if (this.#objects.has(path)) return [409, { kind: 'Status', reason: 'AlreadyExists' }];
    const namespace = /namespaces\/([^/]+)\//.exec(collection)?.[1];
    const metadata = { ...body.metadata, uid: randomUUID(), ...(namespace ? { namespace } : {}) };
    return [201, this.#put('ADDED', path, { ...body, metadata })];
  }

  #delete(path: string, object: UntypedObject, grace: number): [number, unknown] {
    if (grace > 0 && object.spec?.['nodeName']) {
      const deletion = { deletionTimestamp: new Date().toISOString(), deletionGracePeriodSeconds: grace };
      return [200, this.#put('MODIFIED', path, merge(object, { metadata: deletion }) as UntypedObject)];
    }
    this.#put('DELETED', path, object);
    this.#objects.delete(path);
    return [200, { kind: 'Status', status: 'Success' }];
  }

  #put(type: string, path: string, object: UntypedObject): UntypedObject {
    const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#objects.set(path, next);
    this.#history.push({ type, path, object: next });
    for (const watcher of this.#watchers) watcher(type, path, next);
    return next;
  }

  #watch(url: URL, response: ServerResponse): void {
    const plural = url.pathname.split('/').at(-1);
    const from = Number(url.searchParams.get('resourceVersion'));
    const watcher: Watcher = (type, path, object) => {
      if (pluralOf(path) === plural) response.write(`${JSON.stringify({ type, object })}\n`);
    };
    response.writeHead(200);
    response.flushHeaders();
    for (const { type, path, object } of this.#history) {
      if (Number(object.metadata.resourceVersion) > from) watcher(type, path, object);
    }
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
  }
}
