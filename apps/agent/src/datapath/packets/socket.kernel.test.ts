// SPDX-License-Identifier: Apache-2.0
// Tested: Services at the socket: connect, sendmsg, recvmsg, getpeername, for TCP and UDP of both families.
// How: the programs on a cgroup of this test, a client process in it, real servers on the loopback device.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { mkdtempSync, mkdirSync, rmdirSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LAYOUT_HASH, lbServicesMap, lbSlotsMap, ServiceFlags } from '@cilium-ts/abi';
import { AttachType, BpfObject, attachCgroup, ensureCgroup2, type Attachment } from '@cilium-ts/bpf';
import { loadNative } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';

const HOOKS: Record<string, number> = {
  cil_sock4_connect: AttachType.cgroupInet4Connect,
  cil_sock6_connect: AttachType.cgroupInet6Connect,
  cil_sock4_sendmsg: AttachType.cgroupUdp4Sendmsg,
  cil_sock6_sendmsg: AttachType.cgroupUdp6Sendmsg,
  cil_sock4_recvmsg: AttachType.cgroupUdp4Recvmsg,
  cil_sock6_recvmsg: AttachType.cgroupUdp6Recvmsg,
  cil_sock4_getpeername: AttachType.cgroupInet4Getpeername,
  cil_sock6_getpeername: AttachType.cgroupInet6Getpeername,
};
const FAMILIES = [
  { name: 'IPv4', vip: '10.96.0.99', backend: '127.0.0.1' },
  { name: 'IPv6', vip: 'fd00:10:96::99', backend: '::1' },
] as const;
const [TCP, UDP] = [6, 17];

/** Runs in the cgroup: one exchange with the address it is given, told as JSON. */
const CLIENT = `
const [kind, address, port] = process.argv.slice(1);
const say = (result) => { console.log(JSON.stringify(result)); process.exit(0); };
setTimeout(() => say({ error: 'timeout' }), 3000);
if (kind === 'tcp') {
  const socket = require('net').connect(Number(port), address);
  socket.on('error', (error) => say({ error: error.code }));
  socket.on('data', (data) => say({ from: socket.remoteAddress, port: socket.remotePort, data: String(data) }));
} else {
  const socket = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', (error) => say({ error: error.code }));
  socket.on('message', (data, peer) => {
    const told = kind === 'udp' ? peer : socket.remoteAddress();
    say({ from: told.address, port: told.port, sender: peer.address, data: String(data) });
  });
  const sent = (error) => error && say({ error: error.code });
  if (kind === 'udp') socket.send('hello', Number(port), address, sent);
  else socket.connect(Number(port), address, (error) => error ? say({ error: error.code }) : socket.send('hello', sent));
}`;

const native = loadNative();
let mount: string;
let cgroup: string;
let object: BpfObject;
const attached: Attachment[] = [];
const servers: (Server | Socket)[] = [];

function client(kind: string, address: string, port = 80): Promise<Record<string, unknown>> {
  const node = join(process.cwd(), 'node_modules/.bin/node');
  const script = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
  return promisify(execFile)('sh', [
    '-c',
    script,
    cgroup,
    node,
    '-e',
    CLIENT,
    kind,
    address,
    String(port),
  ]).then(({ stdout }) => JSON.parse(stdout) as Record<string, unknown>);
}

async function tcpServer(host: string): Promise<number> {
  const server = createServer((socket) => socket.end(`tcp ${host}`));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

async function udpServer(host: string): Promise<number> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  servers.push(socket);
  socket.on('message', (_, peer) => socket.send(`udp ${host}`, peer.port, peer.address));
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  return socket.address().port;
}

function service(id: number, addr: string, protocol: number, backend?: { addr: string; port: number }): void {
  const services = object.map(lbServicesMap);
  const slots = object.map(lbSlotsMap);
  const count = backend ? 1 : 0;
  if (backend) slots.set({ index: id }, { ...backend, protocol, flags: 0, backendId: id });
  services.set(
    { addr, port: backend ? 80 : 81, protocol, scope: 0 },
    { id, offset: id, count, generation: 1, affinityTimeout: 0, flags: 1 },
  );
  services.close();
  slots.close();
}

beforeAll(async () => {
  mount = mkdtempSync(join(tmpdir(), `${uniqueName('cgroup')}-`));
  ensureCgroup2(native, mount);
  cgroup = join(mount, uniqueName('sock'));
  mkdirSync(cgroup);
  const path = join(process.env['CILIUM_TS_BPF'] ?? 'dist/bpf', 'bpf_sock.o');
  object = await BpfObject.load(native, path, { expectedLayoutHash: LAYOUT_HASH });
  for (const [name, attachType] of Object.entries(HOOKS)) {
    const program = object.program(name);
    attached.push(await attachCgroup(native, { program, path: cgroup, attachType }));
    program.close();
  }
  for (const [i, { vip, backend }] of FAMILIES.entries()) {
    service(10 * i + 1, vip, TCP, { addr: backend, port: await tcpServer(backend) });
    service(10 * i + 2, vip, UDP, { addr: backend, port: await udpServer(backend) });
    service(10 * i + 3, vip, TCP);
  }
});

afterAll(async () => {
  for (const each of attached) await each.detach();
  object?.close();
  for (const server of servers) server.close();
  rmdirSync(cgroup);
  native.umount({ target: mount });
  rmdirSync(mount);
});

test.each(FAMILIES)(
  'with session affinity all sockets of a client reach one backend over $name',
  async (family) => {
    const slots = object.map(lbSlotsMap);
    const services = object.map(lbServicesMap);
    const offset = 100;
    for (const i of [0, 1]) {
      const server = createServer((socket) => socket.end(`number ${i}`));
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, family.backend, resolve));
      const { port } = server.address() as AddressInfo;
      const slot = { addr: family.backend, port, protocol: TCP, flags: 0, backendId: offset + i };
      slots.set({ index: offset + i }, slot);
    }
    const set = (flags: number): void =>
      services.set(
        { addr: family.vip, port: 82, protocol: TCP, scope: 0 },
        { id: 50 + FAMILIES.indexOf(family), offset, count: 2, generation: 1, affinityTimeout: 60, flags },
      );
    const answers = async (): Promise<Set<unknown>> => {
      const all = new Set<unknown>();
      for (let i = 0; i < 12; i++) all.add((await client('tcp', family.vip, 82))['data']);
      return all;
    };
    set(ServiceFlags.SERVICE_CLUSTER_IP | ServiceFlags.SERVICE_AFFINITY);
    expect((await answers()).size).toBe(1);
    set(ServiceFlags.SERVICE_CLUSTER_IP);
    expect((await answers()).size).toBe(2);
    services.close();
    slots.close();
  },
);

describe.each(FAMILIES)('socket load balancing over $name', ({ vip, backend }) => {
  test('a TCP connection reaches a backend, and its peer is called by the Service', async () => {
    expect(await client('tcp', vip)).toEqual({ from: vip, port: 80, data: `tcp ${backend}` });
  });

  test('an unconnected datagram reaches a backend, and the answer comes from the Service', async () => {
    expect(await client('udp', vip)).toMatchObject({ from: vip, port: 80, data: `udp ${backend}` });
  });

  test('a connected UDP socket likewise', async () => {
    expect(await client('udp-connected', vip)).toMatchObject({
      from: vip,
      port: 80,
      sender: vip,
      data: `udp ${backend}`,
    });
  });

  test('a Service without backends refuses the connection at once', async () => {
    expect(await client('tcp', vip, 81)).toEqual({ error: 'ECONNREFUSED' });
  });
});

test('an IPv6 socket that names an IPv4 Service in the mapped form is served too', async () => {
  expect(await client('tcp', '::ffff:10.96.0.99')).toMatchObject({ data: 'tcp 127.0.0.1' });
});
