// SPDX-License-Identifier: Apache-2.0
// Tests the work queue: once per key at a time, again when added meanwhile, back-off per key.
// Keys are worked on by promises that the tests settle themselves.
import { describe, expect, it } from '@jest/globals';
import { waitFor } from './wait.ts';
import { WorkQueue } from './work-queue.ts';

describe('WorkQueue', () => {
  it('runs a key once for a burst of additions', async () => {
    const done: string[] = [];
    const queue = new WorkQueue<string>({
      name: 'test',
      process: async (key) => {
        done.push(key);
      },
    });
    for (let i = 0; i < 5; i++) queue.add('a');
    queue.add('b');
    await queue.idle();
    expect(done).toEqual(['a', 'b']);
    await queue.stop();
  });

  it('never runs one key twice at the same time, and runs it again when it was added meanwhile', async () => {
    let active = 0;
    let most = 0;
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const queue = new WorkQueue<string>({
      name: 'test',
      concurrency: 4,
      process: async () => {
        most = Math.max(most, ++active);
        runs++;
        await gate.promise;
        active--;
      },
    });
    queue.add('a');
    await waitFor('the first run', () => runs === 1, { intervalMs: 1 });
    queue.add('a');
    queue.add('a');
    gate.resolve();
    await queue.idle();
    expect({ most, runs }).toEqual({ most: 1, runs: 2 });
    await queue.stop();
  });

  it('works on as many keys at once as allowed', async () => {
    let active = 0;
    let most = 0;
    const queue = new WorkQueue<number>({
      name: 'test',
      concurrency: 3,
      process: async () => {
        most = Math.max(most, ++active);
        await new Promise((resolve) => setImmediate(resolve));
        active--;
      },
    });
    for (let i = 0; i < 10; i++) queue.add(i);
    await queue.idle();
    expect(most).toBe(3);
    await queue.stop();
  });

  it('repeats a failed key until it works, and other keys go on meanwhile', async () => {
    const runs: string[] = [];
    let failures = 3;
    const queue = new WorkQueue<string>({
      name: 'test',
      backoff: { baseMs: 1, maxMs: 5 },
      process: async (key) => {
        runs.push(key);
        if (key === 'bad' && failures-- > 0) throw new Error('not yet');
      },
    });
    queue.add('bad');
    queue.add('good');
    await waitFor('the last try', () => runs.filter((key) => key === 'bad').length === 4, { intervalMs: 1 });
    expect(runs.indexOf('good')).toBe(1);
    await queue.stop();
  });

  it('repeats a key after the time its run asked for', async () => {
    let runs = 0;
    const queue = new WorkQueue<string>({ name: 'test', process: async () => (++runs < 3 ? 1 : undefined) });
    queue.add('a');
    await waitFor('three runs', () => runs === 3, { intervalMs: 1 });
    await queue.stop();
  });

  it('takes nothing after stop and waits for what is running', async () => {
    let finished = false;
    const queue = new WorkQueue<string>({
      name: 'test',
      process: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        finished = true;
      },
    });
    queue.add('a');
    queue.addAfter('b', 1);
    await waitFor('the run', () => queue.length === 1, { intervalMs: 0 });
    await new Promise((resolve) => setImmediate(resolve));
    await queue.stop();
    queue.add('c');
    expect(queue.length).toBe(0);
    expect(finished).toBe(true);
  });
});
