// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server } from 'node:http';
import { METRICS_CONTENT_TYPE, type Metrics } from '@cilium-ts/telemetry';

/** `/healthz` and `/metrics`. `health` answers undefined where all is well, otherwise what is wrong. */
export class HealthServer {
  readonly #server: Server;

  constructor(health: () => string | undefined, metrics: Metrics) {
    this.#server = createServer((request, response) => {
      const path = request.url?.split('?')[0];
      if (path === '/healthz' || path === '/readyz') {
        const trouble = health();
        response.writeHead(trouble === undefined ? 200 : 503, { 'content-type': 'text/plain' });
        response.end(trouble ?? 'ok');
      } else if (path === '/metrics') {
        metrics.text().then(
          (text) => response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(text),
          () => response.writeHead(500).end(),
        );
      } else response.writeHead(404).end();
    });
  }

  /** Listens on `[host]:port`. Rejects where the port is taken. */
  start(address: string): Promise<this> {
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(Number(address.slice(colon + 1)), host || undefined, () => resolve(this));
    });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
