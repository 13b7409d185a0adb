// SPDX-License-Identifier: Apache-2.0
// Tested: which identity the kernel's ipcache gives to addresses of both families. How: real maps, asked as the programs do.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ipcacheExactMap, ipcacheMap } from '@cilium-ts/abi';
import { silentLogger } from '@cilium-ts/base';
import { BpfMap } from '@cilium-ts/bpf';
import { loadNative } from '@cilium-ts/native';
import { Ipcache, type IpcacheMaps } from './ipcache.ts';

const native = loadNative();
let maps: IpcacheMaps;
let ipcache: Ipcache;

beforeEach(() => {
  maps = {
    ipcacheExact: BpfMap.create(native, ipcacheExactMap, { maxEntries: 8 }),
    ipcache: BpfMap.create(native, ipcacheMap, { maxEntries: 8 }),
  };
  ipcache = new Ipcache(maps, () => undefined, silentLogger);
});
afterEach(() => {
  ipcache.stop();
  maps.ipcacheExact.close();
  maps.ipcache.close();
});

async function identityOf(addr: string): Promise<number | undefined> {
  await ipcache.whenIdle();
  return maps.ipcache.get({ addr, prefixlen: 128 })?.identity;
}

test('a prefix of IPv6 never holds an address of IPv4', async () => {
  ipcache.upsert('generated', '::/0', { identity: 10, node: '' });
  ipcache.upsert('generated', '0.0.0.0/0', { identity: 9, node: '' });
  expect(await identityOf('fd00::1')).toBe(10);
  expect(await identityOf('192.0.2.1')).toBe(9);
  ipcache.remove('generated', '0.0.0.0/0');
  expect(await identityOf('192.0.2.1')).toBe(2);
});

test('pruning leaves the prefix of every IPv6 address', async () => {
  ipcache.upsert('generated', '::/0', { identity: 10, node: '' });
  await ipcache.whenIdle();
  ipcache.prune();
  expect(await identityOf('fd00::1')).toBe(10);
});
