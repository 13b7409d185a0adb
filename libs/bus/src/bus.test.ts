// SPDX-License-Identifier: Apache-2.0
// Tested: sessions, buckets, loss of the server with and without its data. How: a real nats-server in a temporary folder.
import { Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Bucket, BusConnection, NatsEndpoints, type BucketEntry } from './index.ts';
import { NatsServer } from './testing.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function startServer(): Promise<NatsServer> {
  const server = await new NatsServer().start();
  cleanups.push(
    () => server.wipe(),
    () => server.kill(),
  );
  return server;
}

async function poll(done: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the condition never came true');
}

function follow(server: NatsServer, onSession: (session: NatsConnection) => Promise<void>): BusConnection {
  const bus = new BusConnection({
    name: 'test',
    addresses: () => [`127.0.0.1:${server.port}`],
    onSession,
  }).start();
  cleanups.push(() => bus.stop());
  return bus;
}

describe('buckets', () => {
  test('a watcher gets a snapshot, then changes and deletions in order; long texts survive', async () => {
    const server = await startServer();
    const seen: string[] = [];
    const long = 'x'.repeat(100_000);
    follow(server, async (session) => {
      const bucket = await Bucket.open(session, 'things');
      await bucket.put('a', 'one');
      await bucket.put('long', long);
      await bucket.watch({
        onSnapshot: (entries) =>
          seen.push(
            `snapshot ${entries
              .map(({ key, value }) => `${key}:${value?.length}`)
              .sort()
              .join()}`,
          ),
        onChange: ({ key, value }) => seen.push(`${key}=${value}`),
      });
      // A value that is written again before it is delivered is never seen: the bucket keeps one version.
      await poll(() => seen.length === 1);
      await bucket.put('a', 'two');
      await poll(() => seen.length === 2);
      await bucket.delete('a');
    });
    await poll(() => seen.length === 3);
    expect(seen).toEqual(['snapshot a:3,long:100000', 'a=two', 'a=undefined']);
  });

  test('an empty bucket gives an empty snapshot', async () => {
    const server = await startServer();
    let snapshot: readonly BucketEntry[] | undefined;
    follow(server, async (session) => {
      const bucket = await Bucket.open(session, 'nothing');
      await bucket.watch({ onSnapshot: (entries) => (snapshot = entries), onChange: () => undefined });
    });
    await poll(() => snapshot !== undefined);
    expect(snapshot).toEqual([]);
  });

  test('bytes that cannot be read are an entry with its damage, and what follows still comes', async () => {
    const server = await startServer();
    const seen: BucketEntry[] = [];
    follow(server, async (session) => {
      const bucket = await Bucket.open(session, 'broken');
      const raw = await new Kvm(session).open('broken');
      await raw.put('a', Uint8Array.of(1, 255, 255));
      await bucket.watch({
        onSnapshot: (entries) => seen.push(...entries),
        onChange: (entry) => seen.push(entry),
      });
      await poll(() => seen.length === 1);
      await bucket.put('a', 'whole');
    });
    await poll(() => seen.length === 2);
    expect(seen[0]).toMatchObject({ key: 'a', value: undefined, damage: expect.any(String) });
    expect(seen[1]).toMatchObject({ key: 'a', value: 'whole' });
  });

  test('compare-and-set refuses what was written by someone else', async () => {
    const server = await startServer();
    const outcome: string[] = [];
    follow(server, async (session) => {
      const bucket = await Bucket.open(session, 'head');
      const version = await bucket.compareAndSet('h', '1', 0);
      await bucket.put('h', '2');
      await bucket
        .compareAndSet('h', '3', version)
        .catch((error: { code: string }) => outcome.push(error.code));
      outcome.push((await bucket.get('h'))?.value ?? 'none');
    });
    await poll(() => outcome.length === 2);
    expect(outcome).toEqual(['bus-conflict', '2']);
  });
});

describe('sessions', () => {
  test('a killed server that comes back, with or without its data, is a new session', async () => {
    const server = await startServer();
    const counts: number[] = [];
    const bus = follow(server, async (session) => {
      const bucket = await Bucket.open(session, 'things');
      counts.push((await bucket.entries()).length);
      await bucket.put('a', '1');
    });
    await poll(() => counts.length === 1 && bus.connected);
    await server.kill();
    await poll(() => !bus.connected);
    await server.start();
    await poll(() => counts.length === 2);
    await server.kill();
    server.wipe();
    await server.start();
    await poll(() => counts.length >= 3);
    expect(counts.slice(0, 3)).toEqual([0, 1, 0]);
  }, 30_000);
});

describe('addresses of the service', () => {
  test('come from ready endpoints first, with the port of the slice', () => {
    let changes = 0;
    const endpoints = new NatsEndpoints(() => changes++);
    endpoints.upsert({
      metadata: { name: 's' },
      ports: [{ name: 'nats', port: 4223 }],
      endpoints: [
        { addresses: ['192.0.2.1'], conditions: { ready: false } },
        { addresses: ['192.0.2.2', 'fd00::2'], conditions: { ready: true } },
      ],
    });
    expect(endpoints.addresses).toEqual(['192.0.2.2:4223', '[fd00::2]:4223', '192.0.2.1:4223']);
    endpoints.delete({ metadata: { name: 's' } });
    expect(endpoints.addresses).toEqual([]);
    expect(changes).toBe(2);
  });
});
