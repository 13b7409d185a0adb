// SPDX-License-Identifier: Apache-2.0
// Tests how a pod's device gets its programs: filters first, links in their place later, nothing left behind.
// A veth pair between two namespaces carries UDP; counting programs on both hooks must see each packet exactly once.
import { existsSync, mkdirSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { BpfObject, MapType, u32Codec, u64Codec, type PerCpuMap } from '@cilium-ts/bpf';
import { compileBpf, temporaryBpffs } from '@cilium-ts/bpf/testing';
import { loadNative } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';
import {
  addAddress,
  createNetns,
  createVeth,
  deleteLink,
  deleteNetns,
  Netlink,
  setLink,
  setNeighbour,
  withNetnsFd,
} from '@cilium-ts/netlink';
import { PodHooks, type PodHooksOptions } from './pod-hooks.ts';

const native = loadNative();
const netlink = new Netlink(native);
const DEVICE = 'lxctest';
let sample: ReturnType<typeof compileBpf>;
let bpffs: ReturnType<typeof temporaryBpffs>;
let object: BpfObject;
let counters: PerCpuMap<number, bigint>;
let names: string[];
let node: string;
let pod: string;
let device: { name: string; ifindex: number };
let socket: number;
let hooks: PodHooks;
let links: string;

beforeAll(async () => {
  sample = compileBpf(join(process.cwd(), 'libs/bpf/testdata/sample.bpf.c'));
  bpffs = temporaryBpffs(native);
  object = await BpfObject.load(native, sample.path);
  counters = object.perCpuMap({
    name: 't_counters',
    typeNumber: MapType.perCpuArray,
    maxEntries: 2,
    flags: 0,
    keyCodec: u32Codec,
    valueCodec: u64Codec,
  });
});

afterAll(() => {
  counters.close();
  object.close();
  bpffs.remove();
  sample.remove();
});

function createHooks(extra: Partial<PodHooksOptions> = {}): PodHooks {
  return new PodHooks({
    native,
    logger: silentLogger,
    programs: { ingress: object.program('t_count_a'), egress: object.program('t_count_b') },
    linkDirectory: links,
    method: 'auto',
    tcx: true,
    quietMs: 0,
    netns: node,
    onFallback: () => undefined,
    ...extra,
  });
}

async function makeDevice(): Promise<void> {
  await withNetnsFd(native, pod, (netnsFd) =>
    netlink.run(
      [
        createVeth({ name: DEVICE, up: true }, { name: 'eth0', netnsFd }),
        addAddress({ link: DEVICE, address: '10.7.0.1/24' }),
      ],
      node,
    ),
  );
  const up = [setLink('eth0', { up: true }), addAddress({ link: 'eth0', address: '10.7.0.2/24' })];
  await netlink.run(up, pod);
  const host = await netlink.link(DEVICE, node);
  const peer = await netlink.link('eth0', pod);
  await netlink.run(setNeighbour({ link: DEVICE, address: '10.7.0.2', mac: peer.mac }), node);
  await netlink.run(setNeighbour({ link: 'eth0', address: '10.7.0.1', mac: host.mac }), pod);
  device = { name: DEVICE, ifindex: host.index };
  socket = native.socketOpen({ kind: 'udp-connect', address: '10.7.0.1', port: 5000, netns: pod });
}

beforeEach(async () => {
  names = [uniqueName('n'), uniqueName('p')];
  links = join(bpffs.path, names[0]!);
  mkdirSync(links);
  node = await createNetns(native, names[0]!);
  pod = await createNetns(native, names[1]!);
  const quiet = { 'net.ipv6.conf.all.disable_ipv6': 1, 'net.ipv6.conf.default.disable_ipv6': 1 };
  for (const netns of [node, pod]) await netlink.writeSysctls(quiet, netns);
  await makeDevice();
  counters.set(0, 0n);
  counters.set(1, 0n);
  hooks = createHooks();
});

afterEach(async () => {
  await hooks.stop();
  await hooks.detach(DEVICE);
  native.fdClose({ fd: socket });
  for (const name of names) await deleteNetns(native, name);
});

/** A packet out of the pod and, as nobody listens, an ICMP error back into it. */
function send(): void {
  for (let tried = 0; tried < 2; tried++) {
    try {
      writeSync(socket, 'x');
      return;
    } catch {
      // The error of an earlier packet shows here; this one was not sent.
    }
  }
}

const seen = (slot: number): number => Number(counters.get(slot)!.reduce((sum, value) => sum + value));

async function filters(): Promise<number> {
  const { ifindex } = device;
  const both = [
    await netlink.filters(ifindex, 'ingress', node),
    await netlink.filters(ifindex, 'egress', node),
  ];
  return both.flat().length;
}

async function untilConverted(converting: PodHooks): Promise<void> {
  const end = Date.now() + 10_000;
  while (converting.pending > 0) {
    if (Date.now() > end) throw new Error('no links in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('judges every packet exactly once while links take the place of filters', async () => {
  const start = (await netlink.link(DEVICE, node)).stats!.rxPackets;
  await hooks.attach(device);
  while (hooks.pending > 0) {
    send();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let i = 0; i < 20; i++) send();
  const { rxPackets, txPackets } = (await netlink.link(DEVICE, node)).stats!;
  expect(rxPackets - start).toBeGreaterThan(20);
  expect(seen(0)).toBe(rxPackets - start);
  expect(seen(1)).toBe(txPackets);
  expect(await filters()).toBe(0);
  expect(readdirSync(links).sort()).toEqual([`${DEVICE}_egress`, `${DEVICE}_ingress`]);
});

test('waits with links until no pod has started for a while, and a stopped one leaves the filters', async () => {
  hooks = createHooks({ quietMs: 60_000 });
  await hooks.attach(device);
  expect(hooks.pending).toBe(1);
  await hooks.stop();
  expect(await filters()).toBe(2);
  send();
  expect(seen(0)).toBeGreaterThan(0);
});

test('a later run replaces the filters that an earlier one left, and the other way round', async () => {
  hooks = createHooks({ quietMs: 60_000 });
  await hooks.attach(device);
  await hooks.stop();
  const later = createHooks();
  await later.restore(device);
  expect(await filters()).toBe(0);
  expect(readdirSync(links)).toHaveLength(2);
  await later.stop();
  const legacy = createHooks({ method: 'clsact' });
  await legacy.restore(device);
  expect(await filters()).toBe(2);
  expect(readdirSync(links)).toEqual([]);
});

test('a pod that goes before its links are made, or while they are, leaves no pin', async () => {
  await hooks.attach(device);
  await hooks.detach(DEVICE);
  expect(hooks.pending).toBe(0);
  expect(readdirSync(links)).toEqual([]);
  await hooks.attach(device);
  // The next turn of the timer begins the conversion; the device goes under it.
  await new Promise((resolve) => setTimeout(resolve, 2));
  const gone = netlink.run(deleteLink(DEVICE), node);
  await hooks.detach(DEVICE);
  await gone;
  expect(hooks.pending).toBe(0);
  expect(readdirSync(links)).toEqual([]);
});

test('makes links at once where filters are not taken, and only filters where told to', async () => {
  const without = createHooks({ tcx: false });
  await without.attach(device);
  expect(without.pending).toBe(0);
  await without.detach(DEVICE);
  expect(readdirSync(links)).toEqual([]);
  await netlink.run(deleteLink(DEVICE), node);
  await makeDevice();
  const legacy = createHooks({ method: 'clsact' });
  await legacy.attach(device);
  expect(legacy.pending).toBe(0);
  expect(await filters()).toBe(2);
  expect(existsSync(join(links, `${DEVICE}_ingress`))).toBe(false);
});

test('refuses a device that is not there', async () => {
  await expect(hooks.attach({ name: 'lxcnone', ifindex: 4242 })).rejects.toMatchObject({ code: 'ENODEV' });
  expect(hooks.pending).toBe(0);
  await untilConverted(hooks);
});
