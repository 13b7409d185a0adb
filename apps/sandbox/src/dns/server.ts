// SPDX-License-Identifier: Apache-2.0
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server as TcpServer,
  type Socket,
} from 'node:net';
import { errorMessage, Lifecycle, type Logger, type Stoppable } from '@cilium-ts/base';
import type { Responder } from './responder.ts';

export interface DnsServer extends Stoppable {
  readonly port: number;
}

/** Milliseconds without a query after which a TCP connection is closed. */
const TCP_IDLE_MS = 10_000;

/** Serves UDP and TCP on one port, IPv4 and, where the machine has it, IPv6. Port 0 takes a free one. */
export async function startDnsServer(responder: Responder, port: number, log: Logger): Promise<DnsServer> {
  const parts = new Lifecycle();
  try {
    const tcp = await listenTcp(responder, port, '0.0.0.0');
    parts.onStop(() => closeTcp(tcp));
    const bound = (tcp.server.address() as AddressInfo).port;
    const udp = await listenUdp(responder, bound, 'udp4');
    parts.onStop(() => closeUdp(udp));
    try {
      const tcp6 = await listenTcp(responder, bound, '::');
      parts.onStop(() => closeTcp(tcp6));
      const udp6 = await listenUdp(responder, bound, 'udp6');
      parts.onStop(() => closeUdp(udp6));
    } catch (error) {
      log.info({ error: errorMessage(error) }, 'no IPv6 here, answering over IPv4 only');
    }
    return { port: bound, stop: () => parts.stop() };
  } catch (error) {
    await parts.stop();
    throw error;
  }
}

async function listenUdp(responder: Responder, port: number, type: 'udp4' | 'udp6'): Promise<UdpSocket> {
  const socket = createSocket({ type, ipv6Only: type === 'udp6', reuseAddr: false });
  socket.on('message', (query, peer) => {
    void responder.answer(query, 'udp').then((answer) => {
      // The socket may be closed, the peer gone: both are the client's time-out, not an error here.
      if (answer) socket.send(answer, peer.port, peer.address, () => undefined);
    });
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, type === 'udp6' ? '::' : '0.0.0.0', resolve);
  });
  socket.removeAllListeners('error');
  socket.on('error', () => undefined);
  return socket;
}

function closeUdp(socket: UdpSocket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}

interface TcpListener {
  readonly server: TcpServer;
  readonly sockets: Set<Socket>;
}

async function listenTcp(responder: Responder, port: number, host: string): Promise<TcpListener> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serveConnection(responder, socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, ipv6Only: host === '::' }, resolve);
  });
  return { server, sockets };
}

/** Messages with a two-byte length, any number on one connection. */
function serveConnection(responder: Responder, socket: Socket): void {
  let received = Buffer.alloc(0);
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0);
      const query = received.subarray(2, end);
      received = received.subarray(end);
      void responder.answer(query, 'tcp').then((answer) => {
        if (!answer || socket.destroyed) return;
        socket.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 0xff]), answer]));
      });
    }
  });
}

function closeTcp({ server, sockets }: TcpListener): Promise<void> {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** 200 on `path` while `isWell` holds, else 503. */
export async function startProbe(port: number, path: string, isWell: () => boolean): Promise<DnsServer> {
  const server: HttpServer = createHttpServer((request, response) => {
    const well = request.url === path && isWell();
    response.writeHead(request.url !== path ? 404 : well ? 200 : 503, { connection: 'close' });
    response.end(well ? 'OK\n' : '');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
