// SPDX-License-Identifier: Apache-2.0
// Tables tell each transaction once; reconcilers carry rows to a target, fold changes and survive failures.
// The target is an in-memory map that can be told to fail.
import { describe, expect, test } from '@jest/globals';
import { Reconciler, Table, type TableChange } from './index.ts';

describe('Table', () => {
  test('tells a transaction in one call, with what was before', () => {
    const table = new Table<number>({ name: 't', equal: (a, b) => a === b });
    const heard: (readonly TableChange<number>[])[] = [];
    table.watch((changes) => heard.push(changes));
    table.transaction(() => {
      table.upsert('a', 1);
      table.upsert('b', 2);
    });
    table.upsert('a', 1);
    table.upsert('a', 3);
    table.delete('b');
    expect(heard.map((changes) => changes.length)).toEqual([2, 1, 1]);
    expect(heard[1]).toEqual([{ key: 'a', before: 1, after: 3 }]);
    expect(table.revision).toBe(3);
  });

  test('keeps indexes in step with updates and deletions', () => {
    const table = new Table<{ node: string }>({ name: 't', indexes: { node: (row) => [row.node] } });
    table.upsert('a', { node: 'x' });
    table.upsert('b', { node: 'x' });
    table.upsert('a', { node: 'y' });
    expect(table.find('node', 'x')).toEqual([{ node: 'x' }]);
    table.delete('b');
    expect(table.find('node', 'x')).toEqual([]);
  });

  test('replace removes what is not wanted', () => {
    const table = new Table<number>({ name: 't' });
    table.replace([
      ['a', 1],
      ['b', 2],
    ]);
    table.replace([['b', 2]]);
    expect([...table.entries()]).toEqual([['b', 2]]);
  });
});

describe('Reconciler', () => {
  const target = (world: Map<string, number>, fail: { times: number }) => ({
    update: (rows: readonly (readonly [string, number])[]) => {
      if (fail.times-- > 0) return Promise.reject(new Error('full'));
      for (const [key, row] of rows) world.set(key, row);
      return Promise.resolve();
    },
    delete: (rows: readonly (readonly [string, number])[]) => {
      for (const [key] of rows) world.delete(key);
      return Promise.resolve();
    },
    prune: (wanted: ReadonlyMap<string, number>) => {
      for (const key of [...world.keys()]) if (!wanted.has(key)) world.delete(key);
      return Promise.resolve();
    },
  });

  test('writes, deletes and prunes', async () => {
    const world = new Map([['stale', 9]]);
    const reconciler = new Reconciler<number>({
      name: 'r',
      target: target(world, { times: 0 }),
      equal: (a, b) => a === b,
    });
    reconciler.set('a', 1);
    reconciler.set('b', 2);
    reconciler.unset('b');
    await reconciler.whenIdle();
    expect(world.get('a')).toBe(1);
    expect(world.has('stale')).toBe(true);
    reconciler.prune();
    await reconciler.whenIdle();
    expect([...world]).toEqual([['a', 1]]);
    reconciler.stop();
  });

  test('tries again after a failure and reports it meanwhile', async () => {
    const world = new Map<string, number>();
    const reconciler = new Reconciler<number>({
      name: 'r',
      target: target(world, { times: 2 }),
      equal: (a, b) => a === b,
      retryMinMs: 1,
    });
    reconciler.set('a', 1);
    await reconciler.whenIdle();
    expect(world.get('a')).toBe(1);
    expect(reconciler.status()).toMatchObject({ pending: 0, consecutiveFailures: 0, written: 1 });
    reconciler.stop();
  });

  test('a row that fails does not hold up the others', async () => {
    const world = new Map<string, number>();
    const reconciler = new Reconciler<number>({
      name: 'r',
      equal: (a, b) => a === b,
      retryMinMs: 60_000,
      target: {
        update: (rows) => {
          for (const [key, row] of rows) if (row > 0) world.set(key, row);
          return Promise.resolve(
            new Map(rows.filter(([, row]) => row < 0).map(([key]) => [key, new Error('no')])),
          );
        },
        delete: () => Promise.resolve(),
      },
    });
    reconciler.set('bad', -1);
    reconciler.set('good', 1);
    await new Promise((resolve) => setImmediate(resolve));
    reconciler.set('later', 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect([...world.keys()]).toEqual(['good', 'later']);
    expect(reconciler.status()).toMatchObject({ pending: 1, written: 2, lastError: 'no' });
    reconciler.set('bad', 3);
    await reconciler.whenIdle();
    expect(world.get('bad')).toBe(3);
    reconciler.stop();
  });
});
