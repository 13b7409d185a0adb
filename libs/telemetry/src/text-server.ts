// SPDX-License-Identifier: Apache-2.0
import { createServer } from 'node:http';
import { AppError, errorMessage, type Stoppable } from '@cilium-ts/base';
import { METRICS_CONTENT_TYPE, type Metrics } from './metrics.ts';

/** Where a server listens; without `host` on all addresses of both families. */
export interface ListenAddress {
  readonly host?: string;
  readonly port: number;
}

export interface TextAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/**
 * `:9962`, `127.0.0.1:9962`, `[::1]:9962`; undefined where empty. `key` names the setting in the error.
 * @throws AppError `bad-config`
 */
export function parseListenAddress(key: string, text: string): ListenAddress | undefined {
  if (text === '') return undefined;
  const match = /^(.*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port > 65_535)
    throw new AppError('bad-config', `${key}: ${JSON.stringify(text)} is not HOST:PORT or :PORT`);
  const host = match[1]!.replace(/^\[|\]$/g, '');
  return host === '' ? { port } : { host, port };
}

/** Answers every request with a text that `read` gives for its path. Rejects where the port is taken. */
export async function serveText(
  address: ListenAddress,
  read: (path: string) => TextAnswer | Promise<TextAnswer>,
): Promise<Stoppable> {
  const answer = async (url: string): Promise<TextAnswer> => read(url.split('?')[0]!);
  const server = createServer((request, response) => {
    answer(request.url ?? '/').then(
      ({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body),
      (error: unknown) => response.writeHead(500).end(errorMessage(error)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, resolve);
  });
  return {
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

export async function metricsAnswer(metrics: Metrics): Promise<TextAnswer> {
  return { status: 200, type: METRICS_CONTENT_TYPE, body: await metrics.text() };
}

/** 200, or 503 with what is wrong. */
export function healthAnswer(trouble: string | undefined): TextAnswer {
  return { status: trouble === undefined ? 200 : 503, type: 'text/plain', body: `${trouble ?? 'ok'}\n` };
}

/** `/healthz`, `/readyz` and `/metrics`; `health` answers undefined where all is well, otherwise what is wrong. */
export function serveHealth(
  address: ListenAddress,
  health: () => string | undefined,
  metrics: Metrics,
): Promise<Stoppable> {
  return serveText(address, (path) => {
    if (path === '/healthz' || path === '/readyz') return healthAnswer(health());
    if (path === '/metrics') return metricsAnswer(metrics);
    return {
      status: 404,
      type: 'text/plain',
      body: 'not found: allowed are /healthz, /readyz and /metrics\n',
    };
  });
}
