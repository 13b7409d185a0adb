// SPDX-License-Identifier: Apache-2.0
// The door to an API server of others, before a real HTTP server: its certificate, whose credentials go through,
// streaming answers and upgraded connections.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServer, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { ExternalDoor } from './external-door.ts';
import { planCluster } from './plan.ts';

const sockets = new Set<Duplex>();
const behind = createServer((request, response) => {
  response.writeHead(request.url === '/api/missing' ? 404 : 200, {
    'x-seen': request.headers.authorization ?? 'none',
  });
  if (request.url === '/api/watch') response.write('first\n');
  else response.end(`${request.method} ${request.url}`);
});
behind.on('connection', (socket) => sockets.add(socket));
behind.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});

let door: ExternalDoor;
let address: URL;

beforeAll(async () => {
  await new Promise<void>((resolve) => behind.listen(0, '127.0.0.1', resolve));
  const server = `http://127.0.0.1:${(behind.address() as AddressInfo).port}/api`;
  door = new ExternalDoor(
    { server, insecureSkipVerify: false, authorization: () => 'Bearer admin', source: 'test' },
    planCluster(1, 0),
  );
  address = new URL(await door.start());
});

afterAll(async () => {
  await door.stop();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => behind.close(resolve));
});

function send(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: address.port,
      path,
      headers,
      ca: door.account.ca,
      servername: '',
    };
    // Pods reach it by the wire's address, which is what the certificate has to name.
    const checked = {
      ...options,
      checkServerIdentity: (_: string, cert: { subjectaltname?: string }) => namesWire(cert),
    };
    https.get(checked as https.RequestOptions, resolve).on('error', reject);
  });
}

function namesWire(cert: { subjectaltname?: string }): Error | undefined {
  const names = cert.subjectaltname ?? '';
  return names.includes('192.168.77.254') && names.includes('kubernetes.default.svc')
    ? undefined
    : new Error(names);
}

describe('ExternalDoor', () => {
  it('speaks for the kubeconfig only to those who bring its own token', async () => {
    const seen = async (authorization?: string): Promise<unknown> => {
      const response = await send('/pods', authorization === undefined ? {} : { authorization });
      response.resume();
      return response.headers['x-seen'];
    };
    expect(await seen(`Bearer ${door.account.token}`)).toBe('Bearer admin');
    expect(await seen('Bearer pod')).toBe('Bearer pod');
    expect(await seen()).toBe('none');
  });

  it("passes paths below the server's prefix and status codes", async () => {
    const response = await send('/missing');
    let text = '';
    for await (const chunk of response) text += String(chunk);
    expect([response.statusCode, text]).toEqual([404, 'GET /api/missing']);
  });

  it('passes what a watch has said at once', async () => {
    const response = await send('/watch');
    const first = await new Promise((resolve) =>
      response.once('data', (chunk: Buffer) => resolve(chunk.toString())),
    );
    expect(first).toBe('first\n');
    response.destroy();
  });

  it('passes upgraded connections both ways', async () => {
    const request = https.request({
      host: '127.0.0.1',
      port: address.port,
      path: '/exec',
      headers: { connection: 'Upgrade', upgrade: 'echo' },
      rejectUnauthorized: false,
    });
    request.end();
    const socket = await new Promise<Duplex>((resolve, reject) => {
      request.on('upgrade', (_, duplex) => resolve(duplex));
      request.on('error', reject);
    });
    socket.write('ping');
    expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('ping');
    socket.destroy();
  });
});
