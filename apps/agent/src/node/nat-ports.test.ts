// SPDX-License-Identifier: Apache-2.0
// Tested: lists of reserved ports as the kernel writes them, and which ports masquerading takes where it may not reserve.
// How: texts in, texts out; netlink replaced where it refuses to write.
import { expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import type { Netlink } from '@cilium-ts/netlink';
import { aboveLocal, NAT_PORTS, reserveNatPorts, withReserved } from './nat-ports.ts';

test.each([
  ['', '49152-65535'],
  ['8080', '8080,49152-65535'],
  ['8080,9000-9100', '8080,9000-9100,49152-65535'],
  ['50000-50010', '50000-50010,49152-65535'],
  ['49152-65535', undefined],
  ['80,30000-65535', undefined],
])('to the reserved ports %j the range is added once', (list, wanted) => {
  expect(withReserved(list, NAT_PORTS)).toBe(wanted);
});

test('above the node’s own ports there may be enough', () => {
  expect(aboveLocal('32768\t60999')).toEqual({ min: 61_000, max: 65_535 });
  expect(aboveLocal('1024 65535')).toBeUndefined();
  expect(aboveLocal('nonsense')).toBeUndefined();
});

test('where the kernel refuses the reservation, the ports above the node’s own are taken', async () => {
  const netlink = {
    readSysctl: (key: string) => Promise.resolve(key.endsWith('range') ? '32768\t60999' : ''),
    writeSysctls: () => Promise.reject(new Error('read-only')),
  } as unknown as Netlink;
  expect(await reserveNatPorts(netlink, silentLogger)).toEqual({ min: 61_000, max: 65_535 });
});
