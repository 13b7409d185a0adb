// SPDX-License-Identifier: Apache-2.0
import { AppError, type Stoppable } from '@cilium-ts/base';
import { METRICS_CONTENT_TYPE, type Metrics } from '@cilium-ts/telemetry';
import { fastify } from 'fastify';

/** GET /healthz (200 or 503) and /metrics on `HOST:PORT` or `:PORT`. @throws AppError `bad-config` for another form */
export async function serveHealth(
  address: string,
  healthy: () => boolean,
  metrics: Metrics,
): Promise<Stoppable> {
  const match = /^(.*):(\d{1,5})$/.exec(address);
  if (!match)
    throw new AppError('bad-config', `operator-api-serve-addr: ${JSON.stringify(address)} is not HOST:PORT`);
  const server = fastify({ forceCloseConnections: true });
  server.get('/healthz', (_request, reply) =>
    healthy() ? reply.send('ok\n') : reply.code(503).send('waiting for the Kubernetes API\n'),
  );
  server.get('/metrics', async (_request, reply) =>
    reply.type(METRICS_CONTENT_TYPE).send(await metrics.text()),
  );
  await server.listen({ host: match[1] || '0.0.0.0', port: Number(match[2]) });
  return { stop: () => server.close() };
}
