// SPDX-License-Identifier: Apache-2.0
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { tlsOptions, type KubeConfig } from './config.ts';
import { KubeError } from './errors.ts';

export interface HttpRequest {
  readonly method: string;
  /** Path and query below the server's URL. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds of silence on the connection before the request fails; default 30,000; 0 for none. */
  readonly timeoutMs?: number | undefined;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Methods that may be sent again when a kept-alive connection turns out to be closed. */
const REPEATABLE = new Set(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE']);

/** HTTP to one API server over kept-alive connections. */
export class Transport {
  readonly config: KubeConfig;
  readonly #agent: http.Agent;
  readonly #secure: boolean;
  readonly #base: URL;

  constructor(config: KubeConfig) {
    this.config = config;
    this.#base = new URL(config.server);
    this.#secure = this.#base.protocol === 'https:';
    const keep = { keepAlive: true, keepAliveMsecs: 15_000, maxFreeSockets: 8, scheduling: 'lifo' as const };
    this.#agent = this.#secure ? new https.Agent({ ...keep, ...tlsOptions(config) }) : new http.Agent(keep);
  }

  /** Resolves with the head of the response; the caller reads or destroys the body. @throws KubeError code 0 */
  async open(request: HttpRequest): Promise<IncomingMessage> {
    try {
      return await this.#once(request);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
      return this.#once(request);
    }
  }

  /** Sends and reads the whole answer. @throws KubeError code 0 */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const response = await this.open(request);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of response) chunks.push(chunk as Buffer);
    } catch (error) {
      throw KubeError.unreachable(`${request.method} ${request.path}`, error);
    }
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: Buffer.concat(chunks).toString('utf8'),
    };
  }

  /** Ends idle and busy connections. */
  close(): void {
    this.#agent.destroy();
  }

  #once(request: HttpRequest): Promise<IncomingMessage> {
    const what = `${request.method} ${request.path}`;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const options: https.RequestOptions = {
      agent: this.#agent,
      method: request.method,
      hostname: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port || (this.#secure ? 443 : 80),
      path: this.#base.pathname.replace(/\/$/, '') + request.path,
      headers: this.#headers(request),
      ...(request.signal ? { signal: request.signal } : {}),
    };
    const outgoing = (this.#secure ? https : http).request(options);
    const timeout = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    if (timeout > 0) {
      outgoing.setTimeout(timeout, () => outgoing.destroy(new Error(`no answer within ${timeout} ms`)));
    }
    outgoing.on('response', resolve);
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const stale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (stale && REPEATABLE.has(request.method)) reject(new StaleConnection());
      else reject(KubeError.unreachable(what, error));
    });
    outgoing.end(request.body);
    return promise;
  }

  #headers(request: HttpRequest): Record<string, string> {
    const headers: Record<string, string> = {
      accept: 'application/json',
      'user-agent': 'cilium-ts',
      ...request.headers,
    };
    const authorization = this.config.authorization();
    if (authorization !== undefined) headers['authorization'] = authorization;
    if (request.body !== undefined) headers['content-length'] = String(Buffer.byteLength(request.body));
    return headers;
  }
}

class StaleConnection extends Error {}
