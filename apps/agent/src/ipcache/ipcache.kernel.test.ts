// SPDX-License-Identifier: Apache-2.0
// Tests what becomes of the ipcache when its map is full: what is in it stays and can change, what is missing is told.
// A real hash map of four entries and a real trie.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ipcacheExactMap, ipcacheMap, type IpcacheExactKey, type IpcacheValue } from '@cilium-ts/abi';
import { silentLogger } from '@cilium-ts/base';
import { BpfMap } from '@cilium-ts/bpf';
import { loadNative } from '@cilium-ts/native';
import { Ipcache } from './ipcache.ts';

const native = loadNative();
let exact: BpfMap<IpcacheExactKey, IpcacheValue>;
let prefixes: ReturnType<typeof openPrefixes>;
let ipcache: Ipcache;

const openPrefixes = () => BpfMap.create(native, ipcacheMap, { maxEntries: 16 });

beforeEach(() => {
  exact = BpfMap.create(native, ipcacheExactMap, { maxEntries: 4 });
  prefixes = openPrefixes();
  ipcache = new Ipcache({ ipcacheExact: exact, ipcache: prefixes }, () => undefined, silentLogger);
});

afterEach(() => {
  ipcache.stop();
  exact.close();
  prefixes.close();
});

const upsert = (last: number, identity: number): void =>
  ipcache.upsert('custom-resource', `10.1.0.${last}/32`, { identity, node: '' });
const identityOf = (last: number): number | undefined => exact.get({ addr: `10.1.0.${last}` })?.identity;
const status = () => ipcache.status()[0]!;

async function until(what: string, check: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!check()) {
    if (Date.now() > end) throw new Error(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('a full map keeps what it has, says what is missing, and takes it when there is room', async () => {
  for (let i = 1; i <= 4; i++) upsert(i, 1000 + i);
  await ipcache.whenIdle();
  for (let i = 5; i <= 7; i++) upsert(i, 1000 + i);
  await until('the failure is told', () => status().consecutiveFailures > 0);
  expect(status()).toMatchObject({ wanted: 7, written: 4, pending: 3 });
  expect(status().lastError).toContain('E2BIG');
  expect([1, 2, 3, 4].map(identityOf)).toEqual([1001, 1002, 1003, 1004]);
  expect([5, 6, 7].map(identityOf)).toEqual([undefined, undefined, undefined]);
  for (let i = 1; i <= 3; i++) ipcache.remove('custom-resource', `10.1.0.${i}/32`);
  await ipcache.whenIdle();
  expect(status()).toMatchObject({ wanted: 4, written: 4, pending: 0, consecutiveFailures: 0 });
  expect([4, 5, 6, 7].map(identityOf)).toEqual([1004, 1005, 1006, 1007]);
});

test('in a full map what is there still changes, also beside rows that find no room', async () => {
  for (let i = 1; i <= 4; i++) upsert(i, 1000 + i);
  await ipcache.whenIdle();
  for (const i of [5, 6, 1, 7, 4]) upsert(i, 2000 + i);
  await until('the changes are written', () => identityOf(1) === 2001 && identityOf(4) === 2004);
  expect(status().pending).toBe(3);
  expect(ipcache.identityOf('10.1.0.5')).toBe(2005);
});
