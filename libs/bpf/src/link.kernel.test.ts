// SPDX-License-Identifier: Apache-2.0
// Tests attaching to devices and cgroups, every fallback, pins of links and the event ring, with real packets.
// A veth pair between two network namespaces of the test carries UDP; programs of the sample object count it.
import { existsSync, mkdirSync, rmdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from '@jest/globals';
import { loadNative } from '@cilium-ts/native';
import { processResources, uniqueName } from '@cilium-ts/native/testing';
import * as nl from '@cilium-ts/netlink';
import * as bpf from './index.ts';
import { compileBpf, temporaryBpffs } from './testing.ts';

const native = loadNative();
const netlink = new nl.Netlink(native);
let sample: { path: string; remove: () => void };
let bpffs: { path: string; remove: () => void };
let object: bpf.BpfObject;
let counters: bpf.PerCpuMap<number, bigint>;
let names: [string, string];
let node: string;
let pod: string;
let ifindex: number;
let attachments: bpf.Attachment[];
let socket: number;

const counterSpec = {
  name: 't_counters',
  typeNumber: bpf.MapType.perCpuArray,
  maxEntries: 2,
  flags: 0,
  keyCodec: bpf.u32Codec,
  valueCodec: bpf.u64Codec,
};

beforeAll(async () => {
  sample = compileBpf(join(process.cwd(), 'libs/bpf/testdata/sample.bpf.c'));
  bpffs = temporaryBpffs(native);
  object = await bpf.BpfObject.load(native, sample.path);
  counters = object.perCpuMap(counterSpec);
});

afterAll(() => {
  counters.close();
  object.close();
  bpffs.remove();
  sample.remove();
});

beforeEach(async () => {
  attachments = [];
  names = [uniqueName('n'), uniqueName('p')];
  node = await nl.createNetns(native, names[0]);
  pod = await nl.createNetns(native, names[1]);
  // No chatter of the kernel's own: packets are counted exactly.
  const quiet = { 'net.ipv6.conf.all.disable_ipv6': 1, 'net.ipv6.conf.default.disable_ipv6': 1 };
  for (const netns of [node, pod]) await netlink.writeSysctls(quiet, netns);
  await nl.withNetnsFd(native, pod, (netnsFd) =>
    netlink.run(
      [
        nl.createVeth({ name: 'host0', up: true }, { name: 'eth0', netnsFd }),
        nl.addAddress({ link: 'host0', address: '10.7.0.1/24' }),
      ],
      node,
    ),
  );
  await netlink.run(
    [nl.setLink('eth0', { up: true }), nl.addAddress({ link: 'eth0', address: '10.7.0.2/24' })],
    pod,
  );
  const host = await netlink.link('host0', node);
  const peer = await netlink.link('eth0', pod);
  await netlink.run(nl.setNeighbour({ link: 'host0', address: '10.7.0.2', mac: peer.mac }), node);
  await netlink.run(nl.setNeighbour({ link: 'eth0', address: '10.7.0.1', mac: host.mac }), pod);
  ifindex = host.index;
  counters.set(0, 0n);
  counters.set(1, 0n);
  socket = native.socketOpen({ kind: 'udp-connect', address: '10.7.0.1', port: 5000, netns: pod });
});

afterEach(async () => {
  for (const attachment of attachments) await attachment.detach().catch(() => undefined);
  native.fdClose({ fd: socket });
  for (const name of names) await nl.deleteNetns(native, name);
});

/** Packets from the pod to the node; a connected UDP socket is a plain descriptor. */
function send(count: number): void {
  for (let i = 0; i < count; i++) {
    try {
      writeSync(socket, 'x');
    } catch {
      // Nobody listens: the ICMP error of the packet before shows here, the packet itself was sent or is sent again.
      writeSync(socket, 'x');
    }
  }
}

async function counted(slot: number): Promise<number> {
  return Number(counters.get(slot)!.reduce((sum, value) => sum + value));
}

async function traffic(program: string, extra: Partial<bpf.TrafficOptions> = {}): Promise<bpf.Attachment> {
  const loaded = object.program(program);
  const attachment = await bpf.attachTraffic(native, {
    program: loaded,
    ifindex,
    direction: 'ingress',
    netns: node,
    ...extra,
  });
  loaded.close();
  attachments.push(attachment);
  return attachment;
}

describe('attachTraffic', () => {
  it.each(['tcx', 'clsact'] as const)(
    'sees, updates and leaves the traffic of a device by %s',
    async (method) => {
      const attachment = await traffic('t_count_a', { method });
      expect(attachment.method).toBe(method);
      send(10);
      expect(await counted(0)).toBeGreaterThanOrEqual(10);
      const other = object.program('t_count_b');
      await attachment.update(other);
      other.close();
      const before = await counted(0);
      send(10);
      expect(await counted(1)).toBeGreaterThanOrEqual(10);
      expect(await counted(0)).toBe(before);
      await attachment.detach();
      const after = await counted(1);
      send(10);
      expect(await counted(1)).toBe(after);
      await attachment.detach().catch(() => undefined);
    },
  );

  it('loses no packet while programs are swapped under traffic', async () => {
    const attachment = await traffic('t_count_a');
    const programs = [object.program('t_count_b'), object.program('t_count_a')];
    const start = (await netlink.link('host0', node)).stats!.rxPackets;
    for (let i = 0; i < 60; i++) {
      const swap = attachment.update(programs[i % 2]!);
      send(20);
      await swap;
    }
    const received = (await netlink.link('host0', node)).stats!.rxPackets - start;
    expect(received).toBeGreaterThanOrEqual(1200);
    expect((await counted(0)) + (await counted(1))).toBe(received);
    for (const program of programs) program.close();
  });

  it('finds its pinned link again, and makes a new one where the device is another', async () => {
    const pinPath = join(bpffs.path, uniqueName('link'));
    const first = await traffic('t_count_a', { pinPath });
    first.close();
    attachments.pop();
    send(3);
    expect(await counted(0)).toBeGreaterThanOrEqual(3);
    const again = await traffic('t_count_b', { pinPath });
    send(3);
    expect(await counted(1)).toBeGreaterThanOrEqual(3);
    await netlink.run(nl.deleteLink(ifindex), node);
    await netlink.run(nl.createVeth({ name: 'host9', up: true }, { name: 'eth9' }), node);
    ifindex = (await netlink.link('host9', node)).index;
    await traffic('t_count_a', { pinPath });
    expect(existsSync(pinPath)).toBe(true);
    again.close();
    attachments.splice(attachments.indexOf(again), 1);
  });

  it('refuses a device that is not there', async () => {
    ifindex = 4242;
    await expect(traffic('t_count_a', { method: 'tcx' })).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(traffic('t_count_a', { method: 'clsact' })).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(traffic('t_count_a', { netns: '/run/netns/ctst-none' })).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await expect(traffic('t_xdp', { method: 'tcx' })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

describe('attachXdp', () => {
  async function xdp(extra: Partial<bpf.XdpOptions> = {}): Promise<bpf.Attachment> {
    const program = object.program('t_xdp');
    const attachment = await bpf.attachXdp(native, { program, ifindex, netns: node, ...extra });
    program.close();
    attachments.push(attachment);
    return attachment;
  }

  it.each([
    ['native', 'xdp-native'],
    ['generic', 'xdp-generic'],
  ] as const)('sees packets in %s mode', async (method, expected) => {
    const attachment = await xdp({ method });
    expect(attachment.method).toBe(expected);
    send(10);
    expect(await counted(0)).toBeGreaterThanOrEqual(10);
  });

  it('falls back to generic mode where the driver refuses, and says why', async () => {
    await netlink.run(nl.setLink('host0', { mtu: 9000 }), node);
    await netlink.run(nl.setLink('eth0', { mtu: 9000 }), pod);
    const attachment = await xdp();
    expect(attachment).toMatchObject({
      method: 'xdp-generic',
      fallback: expect.stringContaining('no native XDP'),
    });
  });

  it('updates a pinned link', async () => {
    const pinPath = join(bpffs.path, uniqueName('xdp'));
    (await xdp({ pinPath })).close();
    attachments.pop();
    const again = await xdp({ pinPath });
    send(5);
    expect(await counted(0)).toBeGreaterThanOrEqual(5);
    await again.detach();
    attachments.pop();
    expect(existsSync(pinPath)).toBe(false);
  });
});

describe('attachCgroup', () => {
  it('attaches to a cgroup of its own, pins, and refuses other directories', async () => {
    const cgroup = join('/sys/fs/cgroup/unified', uniqueName('cg'));
    if (!existsSync('/sys/fs/cgroup/unified')) return;
    mkdirSync(cgroup);
    const program = object.program('t_connect4');
    const pinPath = join(bpffs.path, uniqueName('cg'));
    const options = { program, path: cgroup, attachType: bpf.AttachType.cgroupInet4Connect, pinPath };
    (await bpf.attachCgroup(native, options)).close();
    const again = await bpf.attachCgroup(native, options);
    await again.detach();
    expect(existsSync(pinPath)).toBe(false);
    await expect(bpf.attachCgroup(native, { ...options, path: '/tmp' })).rejects.toMatchObject({
      code: 'not-a-cgroup',
    });
    program.close();
    rmdirSync(cgroup);
  });
});

describe('EventReader', () => {
  const sequenceSpec = { ...counterSpec, name: 't_sequence', maxEntries: 1, valueCodec: bpf.u32Codec };

  async function eventually(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(condition()).toBe(true);
  }

  it('delivers every event in order', async () => {
    const own = await bpf.BpfObject.load(native, sample.path);
    const ring = own.mapFd('t_ring');
    const program = own.program('t_emit');
    let seen = 0;
    let wrong = 0;
    const reader = new bpf.EventReader(
      native,
      ring,
      (batch) =>
        batch.forEach((_, offset, length) => {
          const sequence = batch.view.getUint32(offset + 4, true);
          if (length !== 16 || batch.view.getBigUint64(offset + 8, true) !== BigInt(sequence) * 3n) wrong++;
          seen++;
        }),
      { fields: { cpu: 0, sequence: 4 } },
    );
    for (let i = 0; i < 20; i++) await program.testRunAsync({ data: new Uint8Array(64), repeat: 10000 });
    await eventually(() => seen === 200000);
    expect(wrong).toBe(0);
    expect(reader.lost).toBe(0);
    expect(reader.stats()).toMatchObject({ records: 200000, bytes: 3200000, pending: 0 });
    reader.stop();
    reader.stop();
    native.fdClose({ fd: ring });
    program.close();
    own.close();
  });

  it('counts exactly what a full ring lost', async () => {
    const own = await bpf.BpfObject.load(native, sample.path, { mapSizes: { t_ring: 4096 } });
    const ring = own.mapFd('t_ring');
    const program = own.program('t_emit');
    const sequence = own.perCpuMap(sequenceSpec);
    let seen = 0;
    native.setAffinity({ pid: 0, cpu: 0 });
    program.testRun({ data: new Uint8Array(64) });
    const reader = new bpf.EventReader(native, ring, (batch) => (seen += batch.count), {
      fields: { cpu: 0, sequence: 4 },
    });
    await eventually(() => seen === 1);
    program.testRun({ data: new Uint8Array(64), repeat: 50000 });
    await eventually(() => reader.stats().pending === 0);
    program.testRun({ data: new Uint8Array(64) });
    await eventually(() => reader.stats().pending === 0 && seen === reader.stats().records);
    const written = sequence.get(0)!.reduce((sum, value) => sum + value);
    expect(written).toBe(50002);
    expect(seen).toBeLessThan(written);
    expect(reader.losses.lostUpTo(sequence.get(0)!) + seen).toBe(written);
    native.setAffinity({ pid: 0 });
    reader.stop();
    native.fdClose({ fd: ring });
    sequence.close();
    program.close();
    own.close();
  });

  it('refuses a map that is no ring', () => {
    expect(() => new bpf.EventReader(native, counters.fd, () => undefined)).toThrow(/no ring buffer/);
  });
});

describe('resources', () => {
  it('leaves no descriptor and no thread behind', async () => {
    const round = async (): Promise<void> => {
      const own = await bpf.BpfObject.load(native, sample.path);
      const ring = own.mapFd('t_ring');
      const reader = new bpf.EventReader(native, ring, () => undefined);
      const program = own.program('t_count_a');
      const link = await bpf.attachTraffic(native, { program, ifindex, direction: 'egress', netns: node });
      await link.detach();
      program.close();
      reader.stop();
      native.fdClose({ fd: ring });
      own.close();
    };
    await round();
    const before = processResources();
    for (let i = 0; i < 10; i++) await round();
    expect(processResources()).toEqual(before);
  });
});
