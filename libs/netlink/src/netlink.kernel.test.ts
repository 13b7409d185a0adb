// SPDX-License-Identifier: Apache-2.0
// Tests rtnetlink requests and dumps against the running kernel.
// Each test makes network namespaces of its own, changes them and reads the state back.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadNative } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';
import * as nl from './index.ts';

const native = loadNative();
const netlink = new nl.Netlink(native);
let left: string;
let right: string;
let names: string[];

beforeEach(async () => {
  names = [uniqueName('a'), uniqueName('b')];
  left = await nl.createNetns(native, names[0]!);
  right = await nl.createNetns(native, names[1]!);
});

afterEach(async () => {
  for (const name of names) await nl.deleteNetns(native, name);
});

async function veth(): Promise<void> {
  await nl.withNetnsFd(native, right, (netnsFd) =>
    netlink.run(
      nl.createVeth(
        { name: 'host0', up: true, mtu: 1400, mac: '02:00:00:00:00:01' },
        { name: 'eth0', netnsFd, mac: '02:00:00:00:00:02' },
      ),
      left,
    ),
  );
  await netlink.run(nl.setLink('eth0', { up: true }), right);
}

describe('links', () => {
  it('creates a veth pair whose peer is born in another namespace', async () => {
    await veth();
    const host = await netlink.link('host0', left);
    const pod = await netlink.link('eth0', right);
    expect(host).toMatchObject({
      kind: 'veth',
      up: true,
      mtu: 1400,
      mac: '02:00:00:00:00:01',
      peerElsewhere: true,
    });
    expect(host.peerIndex).toBe(pod.index);
    expect(pod.stats?.rxPackets).toBeGreaterThanOrEqual(0);
    expect((await netlink.link('lo', left)).up).toBe(true);
  });

  it('changes, renames, moves and deletes devices, in one call where the device is new', async () => {
    await netlink.run(
      [
        nl.createBridge({ name: 'br0' }),
        nl.createVeth({ name: 'v0' }, { name: 'v1' }),
        nl.setLink('v0', { master: 'br0', up: true }),
        nl.setLink('v1', { name: 'v2' }),
        nl.setLink('br0', { up: true, mtu: 1300 }),
      ],
      left,
    );
    const bridge = await netlink.link('br0', left);
    expect(bridge).toMatchObject({ kind: 'bridge', up: true });
    expect((await netlink.link('v0', left)).master).toBe(bridge.index);
    await nl.withNetnsFd(native, right, (netnsFd) => netlink.run(nl.setLink('v2', { netnsFd }), left));
    expect(await netlink.linkIndex('v2', right)).toBeDefined();
    await netlink.run(nl.deleteLink('v0'), left);
    expect(await netlink.linkIndex('v0', left)).toBeUndefined();
    expect(await netlink.linkIndex('v2', right)).toBeUndefined();
  });

  it('says what was being done, where, and the errno by name', async () => {
    await expect(netlink.run(nl.deleteLink('nothere'), left)).rejects.toMatchObject({
      code: 'ENODEV',
      what: 'delete link nothere',
      message: expect.stringContaining(left),
    });
    await netlink.run(nl.createBridge({ name: 'br0' }), left);
    await expect(netlink.run(nl.createBridge({ name: 'br0' }), left)).rejects.toMatchObject({
      code: 'EEXIST',
    });
    await netlink.run(nl.accepting(nl.createBridge({ name: 'br0' }), 'EEXIST'), left);
    await expect(netlink.links('/run/netns/ctst-nowhere')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('addresses, routes, rules and neighbours', () => {
  it('adds and removes addresses of both families', async () => {
    await veth();
    const add = ['10.9.0.1/24', 'fd09::1/64'].map((address) => nl.addAddress({ link: 'host0', address }));
    await netlink.run(add, left);
    await netlink.run(add, left);
    const mine = async (): Promise<string[]> => {
      const index = await netlink.linkIndex('host0', left);
      const list = (await netlink.addresses(left)).filter((address) => address.link === index);
      return list.map((address) => `${address.address}/${address.bits}`);
    };
    expect(await mine()).toEqual(expect.arrayContaining(['10.9.0.1/24', 'fd09::1/64']));
    await netlink.run(nl.deleteAddress('host0', '10.9.0.1/24'), left);
    expect(await mine()).not.toContain('10.9.0.1/24');
  });

  it('adds, replaces and deletes routes, on-link gateways and tables included', async () => {
    await veth();
    await netlink.run(
      [
        nl.addAddress({ link: 'eth0', address: '10.9.1.5/32' }),
        nl.addAddress({ link: 'eth0', address: 'fd09:1::5/128' }),
        nl.addRoute({ destination: '10.9.1.1', link: 'eth0' }),
        nl.addRoute({ destination: 'default', gateway: '10.9.1.1', link: 'eth0', source: '10.9.1.5' }),
        nl.addRoute({ destination: 'fd09:1::1', link: 'eth0' }),
        nl.addRoute({ destination: '::/0', gateway: 'fd09:1::1', link: 'eth0' }),
        nl.addRoute({
          destination: '10.7.0.9/16',
          gateway: '10.200.0.1',
          link: 'eth0',
          onLink: true,
          table: 1000,
        }),
        nl.addRoute({ destination: '10.8.0.0/16', type: 'blackhole' }),
      ],
      right,
    );
    const routes = await netlink.routes(right);
    expect(routes).toContainEqual(
      expect.objectContaining({
        destination: '0.0.0.0/0',
        gateway: '10.9.1.1',
        source: '10.9.1.5',
        table: 254,
      }),
    );
    expect(routes).toContainEqual(expect.objectContaining({ destination: '::/0', gateway: 'fd09:1::1' }));
    expect(routes).toContainEqual(expect.objectContaining({ destination: '10.7.0.0/16', table: 1000 }));
    expect(routes).toContainEqual(expect.objectContaining({ destination: '10.8.0.0/16', type: 6 }));
    await expect(
      netlink.run(nl.addRoute({ destination: '10.9.1.1', link: 'eth0' }), right),
    ).rejects.toMatchObject({ code: 'EEXIST' });
    await netlink.run(nl.replaceRoute({ destination: '10.9.1.1', link: 'eth0', metric: 0 }), right);
    await netlink.run(nl.deleteRoute({ destination: '10.8.0.0/16', type: 'blackhole' }), right);
    await expect(
      netlink.run(nl.deleteRoute({ destination: '10.8.0.0/16', type: 'blackhole' }), right),
    ).rejects.toMatchObject({ code: 'ESRCH' });
  });

  it('carries thousands of routes in one call and reports exactly the refused ones', async () => {
    await veth();
    const many = Array.from({ length: 3000 }, (_, i) =>
      nl.addRoute({ destination: `10.${20 + (i >> 8)}.${i & 255}.0/24`, link: 'host0' }),
    );
    const results = await netlink.attempt(
      [...many, many[7]!, nl.addRoute({ destination: '10.99.0.0/24', link: 'no' })],
      left,
    );
    expect(results.filter((error) => error !== undefined).map((error) => error.code)).toEqual([
      'EEXIST',
      'ENODEV',
    ]);
    expect((await netlink.routes(left)).filter((route) => route.destination.endsWith('/24'))).toHaveLength(
      3000,
    );
  });

  it('sets rules and permanent neighbours', async () => {
    await veth();
    const rule = { family: 4, table: 2004, priority: 9, mark: 0x200, mask: 0xf00 } as const;
    await netlink.run(nl.addRule(rule), left);
    expect(await netlink.rules(left)).toContainEqual(
      expect.objectContaining({ table: 2004, priority: 9, mark: 0x200 }),
    );
    await netlink.run(nl.deleteRule(rule), left);
    for (const address of ['10.9.0.2', 'fd09::2']) {
      await netlink.run(nl.setNeighbour({ link: 'host0', address, mac: '02:00:00:00:00:09' }), left);
      expect(await netlink.neighbours(left)).toContainEqual(
        expect.objectContaining({ address, mac: '02:00:00:00:00:09', permanent: true }),
      );
      await netlink.run(nl.deleteNeighbour('host0', address), left);
    }
  });
});

describe('namespaces', () => {
  it('writes sysctls of one namespace only', async () => {
    const before = await netlink.readSysctl('net.ipv4.ip_forward', right);
    await netlink.writeSysctls({ 'net.ipv4.ip_forward': before === '1' ? 0 : 1 }, left);
    expect(await netlink.readSysctl('net.ipv4.ip_forward', left)).not.toBe(before);
    expect(await netlink.readSysctl('net.ipv4.ip_forward', right)).toBe(before);
    await expect(netlink.writeSysctls({ 'net.ipv4.no_such': 1 }, left)).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('refuses to create a namespace twice and deletes one that is gone without complaint', async () => {
    await expect(nl.createNetns(native, names[0]!)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(nl.listNetns()).toContain(names[0]);
    await nl.deleteNetns(native, names[0]!);
    await nl.deleteNetns(native, names[0]!);
    expect(nl.listNetns()).not.toContain(names[0]);
  });

  it('opens sockets inside a namespace', async () => {
    const listener = await native.socketOpenAsync({
      kind: 'tcp-listen',
      address: '127.0.0.1',
      port: 9999,
      netns: left,
    });
    const client = await native.socketOpenAsync({
      kind: 'tcp-connect',
      address: '127.0.0.1',
      port: 9999,
      netns: left,
    });
    await expect(
      native.socketOpenAsync({ kind: 'tcp-connect', address: '127.0.0.1', port: 9999, netns: right }),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    for (const fd of [listener, client]) native.fdClose({ fd });
  });
});
