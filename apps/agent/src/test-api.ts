// SPDX-License-Identifier: Apache-2.0
// For tests: as much of a Kubernetes API as one agent asks for. Objects live in memory; lists, watches and writes are real HTTP.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface TestObject {
  metadata: { name: string; namespace?: string; [field: string]: unknown };
  [field: string]: unknown;
}

interface Target {
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

function parsePath(path: string): Target {
  const parts = path.split('/').filter((part) => part !== '');
  const rest = parts.slice(parts[0] === 'api' ? 2 : 3);
  const namespaced = rest[0] === 'namespaces' && rest.length > 2;
  const [plural = '', name] = namespaced ? rest.slice(2) : rest;
  return { plural, name, namespace: namespaced ? rest[1] : undefined };
}

function merge(target: Record<string, unknown>, patch: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(patch)) {
    const old = target[key];
    const both = [old, value].every((one) => typeof one === 'object' && one !== null && !Array.isArray(one));
    if (value === null) delete target[key];
    else if (both) merge(old as Record<string, unknown>, value as Record<string, unknown>);
    else target[key] = value;
  }
}

export class TestApi {
  readonly #server: Server;
  readonly #objects = new Map<string, Map<string, TestObject>>();
  /** Everything that ever happened, for watches that begin after their list. */
  readonly #events: { readonly plural: string; readonly version: number; readonly line: string }[] = [];
  readonly #watchers = new Map<string, Set<ServerResponse>>();
  #version = 1;

  constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  /** A listening descriptor, made in the namespace where clients are. */
  listen(fd: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ fd }, resolve);
    });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  list(plural: string): TestObject[] {
    return [...(this.#objects.get(plural)?.values() ?? [])];
  }

  put(plural: string, object: TestObject): TestObject {
    const objects = this.#objects.get(plural) ?? new Map<string, TestObject>();
    this.#objects.set(plural, objects);
    const { namespace, name } = object.metadata;
    const key = `${namespace ?? ''}/${name}`;
    const known = objects.get(key);
    const uid = known?.metadata['uid'] ?? object.metadata['uid'] ?? `uid-${name}`;
    const stored = {
      ...object,
      metadata: { ...object.metadata, uid, resourceVersion: String(++this.#version) },
    };
    objects.set(key, stored);
    this.#tell(plural, known ? 'MODIFIED' : 'ADDED', stored);
    return stored;
  }

  remove(plural: string, name: string, namespace?: string): boolean {
    const key = `${namespace ?? ''}/${name}`;
    const object = this.#objects.get(plural)?.get(key);
    if (!object) return false;
    this.#objects.get(plural)!.delete(key);
    object.metadata['resourceVersion'] = String(++this.#version);
    this.#tell(plural, 'DELETED', object);
    return true;
  }

  #tell(plural: string, type: string, object: TestObject): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    this.#events.push({ plural, version: this.#version, line });
    for (const watcher of this.#watchers.get(plural) ?? []) watcher.write(line);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api');
    const target = parsePath(url.pathname);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    if (url.searchParams.get('watch') === 'true') return this.#watch(target.plural, url, response);
    const answer = this.#answer(request.method ?? 'GET', target, body);
    const missing = {
      kind: 'Status',
      status: 'Failure',
      code: 404,
      reason: 'NotFound',
      message: 'not found',
    };
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? missing));
  }

  #watch(plural: string, url: URL, response: ServerResponse): void {
    const since = Number(url.searchParams.get('resourceVersion') ?? 0);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of this.#events)
      if (event.plural === plural && event.version > since) response.write(event.line);
    const watchers = this.#watchers.get(plural) ?? new Set();
    this.#watchers.set(plural, watchers.add(response));
    response.on('close', () => watchers.delete(response));
  }

  #answer(method: string, target: Target, body: Record<string, unknown>): unknown {
    const { plural, name, namespace } = target;
    if (method === 'POST') {
      const object = body as unknown as TestObject;
      return this.put(plural, {
        ...object,
        metadata: { namespace, ...object.metadata } as TestObject['metadata'],
      });
    }
    if (name === undefined) {
      return { kind: 'List', metadata: { resourceVersion: String(this.#version) }, items: this.list(plural) };
    }
    if (method === 'DELETE') return this.remove(plural, name, namespace) ? {} : undefined;
    const known = this.#objects.get(plural)?.get(`${namespace ?? ''}/${name}`);
    if (!known || method === 'GET') return known;
    const copy = structuredClone(known);
    merge(copy, body);
    return this.put(plural, copy);
  }
}
