// SPDX-License-Identifier: Apache-2.0
// Tests the reflector: a mirror that survives everything an API server and the wire can do to a watch.
// A real HTTP server plays the API server and misbehaves on purpose: 410, broken lines, garbage, silence, restarts.
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Reflector, type ReflectorOptions } from './reflector.ts';
import { CONFIG_MAPS } from './resources.ts';
import { ScriptedServer, sendJson, sendStatus } from './testing.ts';
import { waitFor } from './wait.ts';
import type { ConfigMap } from './wire.ts';

function map(name: string, version: number, uid = `uid-${name}`): ConfigMap {
  return {
    metadata: { name, namespace: 'a', uid, resourceVersion: String(version) },
    data: { v: String(version) },
  };
}

/** The state of the played API server: one collection and the watches on it. */
class Collection {
  items = new Map<string, ConfigMap>();
  version = 10;
  watches: ServerResponse[] = [];
  lists = 0;
  watchVersions: (string | null)[] = [];

  put(name: string, uid?: string): void {
    const type = this.items.has(name) ? 'MODIFIED' : 'ADDED';
    const object = map(name, ++this.version, uid);
    this.items.set(name, object);
    this.send(type, object);
  }

  remove(name: string): void {
    const object = { ...map(name, ++this.version) };
    this.items.delete(name);
    this.send('DELETED', object);
  }

  send(type: string, object: unknown): void {
    for (const watch of this.watches) watch.write(`${JSON.stringify({ type, object })}\n`);
  }
}

describe('Reflector', () => {
  let server: ScriptedServer;
  let state: Collection;
  let seen: string[];
  let reflector: Reflector<ConfigMap>;

  function answer(url: URL, response: ServerResponse): void {
    if (url.searchParams.get('watch') === 'true') {
      state.watchVersions.push(url.searchParams.get('resourceVersion'));
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      state.watches.push(response);
      return;
    }
    state.lists++;
    const limit = Number(url.searchParams.get('limit') ?? 1000);
    const from = Number(url.searchParams.get('continue') ?? 0);
    const all = [...state.items.values()];
    const more = from + limit < all.length ? String(from + limit) : undefined;
    sendJson(response, {
      metadata: { resourceVersion: String(state.version), continue: more },
      items: all.slice(from, from + limit),
    });
  }

  function start(options: Partial<ReflectorOptions<ConfigMap>> = {}): Reflector<ConfigMap> {
    reflector = new Reflector({
      client: server.client(),
      resource: CONFIG_MAPS,
      backoff: { baseMs: 1, maxMs: 20 },
      ...options,
    });
    reflector.subscribe({
      onAdd: ({ metadata }) => seen.push(`+${metadata.name}`),
      onUpdate: (_old, { metadata }) => seen.push(`~${metadata.name}`),
      onDelete: ({ metadata }) => seen.push(`-${metadata.name}`),
      onSynced: () => seen.push('synced'),
    });
    return reflector.start();
  }

  const watching = (count: number): Promise<unknown> =>
    waitFor(`watch ${count}`, () => state.watchVersions.length >= count, { intervalMs: 2 });
  const saw = (...expected: string[]): Promise<unknown> =>
    waitFor(`events ${expected.join(' ')}`, () => seen.join(' ') === expected.join(' '), {
      intervalMs: 2,
      timeoutMs: 5000,
    }).catch(() => expect(seen).toEqual(expected));

  beforeEach(async () => {
    state = new Collection();
    seen = [];
    server = await new ScriptedServer((url, _request, response) => answer(url, response)).start();
  });

  afterEach(async () => {
    await reflector.stop();
    await server.stop();
  });

  it('lists page by page, then follows the watch from the version of the list', async () => {
    for (const name of ['a', 'b', 'c']) state.items.set(name, map(name, 1));
    start({ pageSize: 2 });
    await reflector.synced;
    expect(seen).toEqual(['+a', '+b', '+c', 'synced']);
    expect(state.lists).toBe(2);
    await watching(1);
    expect(state.watchVersions[0]).toBe('10');
    state.put('b');
    state.put('d');
    state.remove('a');
    await saw('+a', '+b', '+c', 'synced', '~b', '+d', '-a');
    expect(reflector.store.get('a/b')?.data).toEqual({ v: '11' });
  });

  it('resumes at the last version after a connection broke, without listing again', async () => {
    start();
    await watching(1);
    state.put('a');
    state.send('BOOKMARK', { metadata: { resourceVersion: '44' } });
    await saw('synced', '+a');
    state.watches = [];
    server.dropConnections();
    await watching(2);
    expect(state.watchVersions[1]).toBe('44');
    expect(state.lists).toBe(1);
  });

  it('puts events together that arrive in pieces, also in the middle of a character', async () => {
    start();
    await watching(1);
    const object = { ...map('ä', 12) };
    const bytes = Buffer.from(`${JSON.stringify({ type: 'ADDED', object })}\n`);
    const cut = bytes.indexOf(0xc3) + 1;
    state.watches[0]!.write(bytes.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    state.watches[0]!.write(bytes.subarray(cut));
    await saw('synced', '+ä');
  });

  it('drops half an event when the connection breaks inside it', async () => {
    start();
    await watching(1);
    state.watches[0]!.write('{"type":"ADDED","object":{"metadata":{"name":"ha');
    state.watches[0]!.destroy();
    state.watches = [];
    await watching(2);
    state.put('whole');
    await saw('synced', '+whole');
  });

  it('lists again after 410 and hands on what vanished, changed and came', async () => {
    for (const name of ['gone', 'kept', 'changed']) state.items.set(name, map(name, 1));
    start();
    await watching(1);
    state.items.delete('gone');
    state.items.set('changed', map('changed', 20));
    state.items.set('fresh', map('fresh', 21));
    const [watch] = state.watches.splice(0);
    watch!.end(
      `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`,
    );
    await saw('+gone', '+kept', '+changed', 'synced', '~changed', '+fresh', '-gone');
  });

  it('lists again when the watch request itself is answered 410', async () => {
    let refused = false;
    server.handler = (url, _request, response) => {
      if (url.searchParams.get('watch') !== 'true' || refused) return answer(url, response);
      refused = true;
      sendStatus(response, 410, 'Expired');
    };
    start();
    await watching(1);
    expect(state.lists).toBe(2);
  });

  it('takes an object made anew under the same name as a deletion and an addition', async () => {
    state.items.set('a', map('a', 1, 'first'));
    start();
    await watching(1);
    state.put('a', 'second');
    await saw('+a', 'synced', '-a', '+a');
  });

  it('opens the watch anew after garbage and after an event without an object', async () => {
    start();
    await watching(1);
    state.watches[0]!.write('<html>502</html>\n');
    await watching(2);
    state.watches[1]!.write('{"type":"ADDED"}\n');
    await watching(3);
    state.watches = state.watches.slice(2);
    state.put('a');
    await saw('synced', '+a');
  });

  it('gives up a silent watch and opens another', async () => {
    start({ inactivityMs: 30 });
    await watching(3);
    expect(state.lists).toBe(1);
  });

  it('goes on after the server was away, and keeps what it has meanwhile', async () => {
    state.items.set('a', map('a', 1));
    start();
    await watching(1);
    await server.stop();
    await waitFor('an error', () => reflector.lastError !== undefined, { intervalMs: 2 });
    expect(reflector.store.size).toBe(1);
    state.watches = [];
    server = Object.assign(server, {});
    await server.start();
    await watching(2);
    state.put('b');
    await saw('+a', 'synced', '+b');
  });

  it('waits for a kind that does not exist yet', async () => {
    let exists = false;
    server.handler = (url, _request, response) =>
      exists ? answer(url, response) : sendStatus(response, 404, 'NotFound');
    start();
    await waitFor('some tries', () => server.requests.length > 3, { intervalMs: 2 });
    expect(reflector.hasSynced).toBe(false);
    exists = true;
    await reflector.synced;
  });

  it('leaves out and trims objects as told, and indexes what is left', async () => {
    state.items.set('a', map('a', 1));
    state.items.set('secret', map('secret', 2));
    start({
      transform: (object) =>
        object.metadata.name === 'secret' ? undefined : { metadata: object.metadata, data: { short: 'yes' } },
      indexers: { short: (object) => [object.data?.['short'] ?? ''] },
    });
    await reflector.synced;
    expect(reflector.store.byIndex('short', 'yes').map(({ metadata }) => metadata.name)).toEqual(['a']);
    expect(reflector.store.size).toBe(1);
  });

  it('survives a handler that throws', async () => {
    start();
    reflector.subscribe({
      onAdd: () => {
        throw new Error('handler');
      },
    });
    await watching(1);
    state.put('a');
    state.put('b');
    await saw('synced', '+a', '+b');
  });

  it('stops while connected and while waiting to connect', async () => {
    start();
    await watching(1);
    await reflector.stop();
    await server.stop();
    const second = new Reflector({
      client: server.client(),
      resource: CONFIG_MAPS,
      backoff: { baseMs: 60_000, maxMs: 60_000 },
    }).start();
    await waitFor('an error', () => second.lastError !== undefined, { intervalMs: 2 });
    await second.stop();
    await server.start();
  });
});
