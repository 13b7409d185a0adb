// SPDX-License-Identifier: Apache-2.0
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { KubeClient } from './client.ts';
import type { KubeConfig } from './config.ts';

export type RouteHandler = (
  url: URL,
  request: IncomingMessage,
  response: ServerResponse,
) => void | Promise<void>;

/** A real HTTP server whose answers a test writes by hand, faults included. */
export class ScriptedServer {
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  handler: RouteHandler;

  constructor(handler: RouteHandler) {
    this.handler = handler;
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://server');
      this.requests.push(`${request.method} ${request.url}`);
      void this.handler(url, request, response);
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listens on a free loopback port; after stop, on the same one again. */
  async start(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  /** Breaks every open connection, also in the middle of an answer. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  get config(): KubeConfig {
    return {
      server: `http://127.0.0.1:${this.#port}`,
      insecureSkipVerify: false,
      authorization: () => undefined,
      source: 'test',
    };
  }

  client(): KubeClient {
    return new KubeClient(this.config);
  }
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** A Kubernetes failure `Status`. */
export function sendStatus(response: ServerResponse, code: number, reason: string, message = reason): void {
  sendJson(response, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }, code);
}
