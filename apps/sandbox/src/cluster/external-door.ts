// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https, { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { tlsOptions, type KubeConfig } from '@cilium-ts/kube';
import { issueCertificate } from '../apiserver/der.ts';
import type { ClusterPlan } from './plan.ts';

/** What pods need to trust and be known at the door. */
export interface AccountOverride {
  /** Certificate authority of the address that pods reach. */
  readonly ca: string;
  /** A token for pods where the API server issues none; only the door accepts it, in the kubeconfig's name. */
  readonly token: string;
}

/**
 * The way of pods to an API server that is not ours. Its certificate rarely names the address under which the nodes
 * reach it, so the door ends their TLS with a certificate of its own and speaks the kubeconfig's TLS behind it.
 */
export class ExternalDoor {
  readonly account: AccountOverride;
  readonly #config: KubeConfig;
  readonly #server: Server;
  readonly #secure: boolean;
  readonly #base: URL;
  readonly #sockets = new Set<Duplex>();

  constructor(config: KubeConfig, plan: ClusterPlan) {
    const ca = issueCertificate({
      subject: { commonName: 'cilium-ts-sandbox-door' },
      days: 365,
      use: 'authority',
    });
    const names = [
      plan.wire.ipv4,
      plan.wire.ipv6,
      '10.96.0.1',
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
    ];
    const own = issueCertificate(
      { subject: { commonName: 'kube-apiserver' }, days: 365, use: 'server', names },
      ca,
    );
    this.account = { ca: ca.pem, token: `sandbox-${randomBytes(24).toString('hex')}` };
    this.#config = config;
    this.#base = new URL(config.server);
    this.#secure = this.#base.protocol === 'https:';
    this.#server = createServer({ cert: own.pem, key: own.keyPem }, (request, response) =>
      this.#pass(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listens on a loopback port; returns its URL. */
  async start(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #forward(request: IncomingMessage): http.ClientRequest {
    const { authorization: given, ...headers } = request.headers;
    const isOurs = given === `Bearer ${this.account.token}`;
    const authorization = isOurs ? this.#config.authorization() : given;
    const options = {
      ...(this.#secure ? this.#tls(isOurs) : {}),
      method: request.method,
      host: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port || (this.#secure ? 443 : 80),
      path: `${this.#base.pathname.replace(/\/$/, '')}${request.url ?? '/'}`,
      headers: {
        ...headers,
        host: this.#base.host,
        ...(authorization === undefined ? {} : { authorization }),
      },
    };
    return this.#secure ? https.request(options) : http.request(options);
  }

  /** The kubeconfig's client certificate speaks only for those who came with the door's own token. */
  #tls(isOurs: boolean): https.RequestOptions {
    const { cert, key, ...rest } = tlsOptions(this.#config);
    return (isOurs ? { ...rest, cert, key } : rest) as https.RequestOptions;
  }

  #pass(request: IncomingMessage, response: ServerResponse): void {
    const upstream = this.#forward(request);
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    upstream.on('error', (error) => {
      if (response.headersSent) return void response.destroy();
      response.writeHead(502, { 'content-type': 'text/plain' });
      response.end(`the API server ${this.#base.host} does not answer: ${error.message}`);
    });
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const upstream = this.#forward(request);
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
    upstream.on('response', (answer) => {
      socket.end(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\nConnection: close\r\n\r\n`);
    });
    upstream.on('upgrade', (answer, other, early) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
      if (early.length > 0) socket.write(early);
      if (head.length > 0) other.write(head);
      other.on('error', () => socket.destroy());
      other.pipe(socket).pipe(other);
    });
    upstream.end();
  }
}
