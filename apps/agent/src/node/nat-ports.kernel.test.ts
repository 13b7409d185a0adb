// SPDX-License-Identifier: Apache-2.0
// Tests that masqueraded flows and the node's own connections never have the same port: a pod and the node connect to a
// host outside, which sees the ports. The whole agent as a process.
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { TestNode, until } from '../test-node.ts';
import { NAT_PORTS } from './nat-ports.ts';

jest.setTimeout(60_000);

const OUTSIDE = '192.168.79.200';
const PORT = 9100;
const COUNT = 40;
let node: TestNode;
let server: Server;
const seen: { address: string; port: number }[] = [];

beforeAll(async () => {
  node = new TestNode('n');
  await node.prepare();
  await node.netlink.writeSysctls({ 'net.ipv4.ip_local_reserved_ports': '8080' }, node.path('node'));
  await node.start();
  node.pod('a', 1001);
  await node.addNamespace('a');
  expect((await node.cni('ADD', 'a')).code).toBe(0);
  const netns = node.path('out');
  const fd = node.native.socketOpen({ kind: 'tcp-listen', address: OUTSIDE, port: PORT, netns });
  server = createServer((socket) => {
    seen.push({ address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
});

afterAll(async () => {
  server.close();
  await node.cleanUp();
});

/** Ports from which the outside saw connections of a namespace; all are open at once. */
async function portsOf(where: string): Promise<number[]> {
  seen.length = 0;
  const open = await Promise.all(Array.from({ length: COUNT }, () => node.connect(where, OUTSIDE, PORT)));
  await until('all connections', () => seen.length === COUNT);
  for (const socket of open) socket!.destroy();
  return seen.map(({ port }) => port);
}

const inNatRange = (port: number): boolean => port >= NAT_PORTS.min && port <= NAT_PORTS.max;

test('the reservation is added to what is reserved already, once', async () => {
  const reserved = () => node.netlink.readSysctl('net.ipv4.ip_local_reserved_ports', node.path('node'));
  expect(await reserved()).toBe(`8080,${NAT_PORTS.min}-${NAT_PORTS.max}`);
  await node.kill('SIGTERM');
  await node.start();
  expect(await reserved()).toBe(`8080,${NAT_PORTS.min}-${NAT_PORTS.max}`);
});

test('pods outside the cluster have the node’s address and ports of the range', async () => {
  const ports = await portsOf('a');
  expect(seen.every(({ address }) => address === '192.168.79.1')).toBe(true);
  expect(ports.filter((port) => !inNatRange(port))).toEqual([]);
});

test('the node’s own connections never do, even where their range lies across it', async () => {
  const range = `${NAT_PORTS.min - 60} ${NAT_PORTS.min + 500}`;
  await node.netlink.writeSysctls({ 'net.ipv4.ip_local_port_range': range }, node.path('node'));
  expect((await portsOf('node')).filter(inNatRange)).toEqual([]);
});
