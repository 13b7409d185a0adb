// SPDX-License-Identifier: Apache-2.0
// REST and WebSocket for the browser, and the page itself.
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Stoppable } from '@cilium-ts/base';
import Fastify from 'fastify';
import { Type, type Static } from 'typebox';
import { WebSocketServer, type WebSocket } from 'ws';
import type { FlowStore } from './flow-store.ts';
import type { FlowView } from './flow-view.ts';
import { PAGE } from './page.ts';
import { PAGE_SCRIPT } from './page-script.ts';

const FlowQuery = Type.Object({
  namespace: Type.Optional(Type.String({ maxLength: 63 })),
  verdict: Type.Optional(Type.String({ pattern: '^[A-Za-z_]{1,20}$' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 2000 })),
});
type FlowQuery = Static<typeof FlowQuery>;

const SNAPSHOT_FLOWS = 200;
const LIMIT = 100;
/** Per update to one browser: more cannot be read, the map shows the rest. */
const SAMPLE = 200;
const BUFFER_MAX = 1_048_576;

function flowFilter({ namespace, verdict }: FlowQuery): (flow: FlowView) => boolean {
  const wanted = verdict?.toUpperCase();
  return (flow) => {
    if (namespace && flow.source.namespace !== namespace && flow.destination.namespace !== namespace)
      return false;
    return !wanted || flow.verdict === wanted;
  };
}

export interface UiServer extends Stoppable {
  readonly port: number;
}

export async function startUiServer(store: FlowStore, host: string, port: number): Promise<UiServer> {
  const app = Fastify({ logger: false, forceCloseConnections: true });
  // No foreign script, no framing.
  app.addHook('onSend', async (_request, reply) => {
    reply.header(
      'content-security-policy',
      "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    );
    reply.header('x-content-type-options', 'nosniff');
  });
  app.get('/healthz', async () => ({ status: 'ok', relay: store.state }));
  app.get('/api/status', async () => store.state);
  app.get<{ Querystring: FlowQuery }>(
    '/api/flows',
    { schema: { querystring: FlowQuery } },
    async ({ query }) => ({
      flows: store.flows(query.limit ?? LIMIT, flowFilter(query)),
    }),
  );
  app.get<{ Querystring: FlowQuery }>(
    '/api/service-map',
    { schema: { querystring: FlowQuery } },
    async ({ query }) => store.map.view(query.namespace),
  );
  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE));
  app.get('/page.js', async (_request, reply) =>
    reply.type('text/javascript; charset=utf-8').send(PAGE_SCRIPT),
  );
  await app.listen({ host, port });
  const sockets = acceptSockets(app.server, store);
  return {
    port: (app.server.address() as AddressInfo).port,
    async stop() {
      sockets.stop();
      await app.close();
    },
  };
}

/** Browsers tell where a page came from; only ours may listen. */
function isOwnPage({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers;
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

function acceptSockets(server: Server, store: FlowStore): Stoppable {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 4096 });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const url = new URL(request.url ?? '/', 'http://ui');
    if (url.pathname !== '/api/stream' || !isOwnPage(request)) {
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
      return;
    }
    const namespace = url.searchParams.get('namespace') ?? '';
    const verdict = url.searchParams.get('verdict') ?? '';
    sockets.handleUpgrade(request, socket, head, (client) =>
      serveBrowser(client, store, { namespace, verdict }),
    );
  });
  return {
    stop() {
      for (const client of sockets.clients) client.terminate();
      sockets.close();
    },
  };
}

function serveBrowser(client: WebSocket, store: FlowStore, query: FlowQuery): void {
  const matches = flowFilter(query);
  const send = (message: object): void => client.send(JSON.stringify(message));
  const snapshot = (): object => ({
    type: 'snapshot',
    map: store.map.view(query.namespace),
    flows: store.flows(SNAPSHOT_FLOWS, matches),
    relay: store.state,
  });
  let skipped = 0;
  const unsubscribe = store.subscribe(({ flows, lost }) => {
    const shown = flows.filter(matches);
    // A browser that cannot keep up misses flows, and is told how many.
    if (client.bufferedAmount > BUFFER_MAX) {
      skipped += shown.length;
      return;
    }
    const sample = shown.slice(-SAMPLE);
    const map = shown.length > 0 ? { map: store.map.view(query.namespace) } : {};
    send({
      type: 'update',
      flows: sample,
      skipped: skipped + shown.length - sample.length,
      lost,
      ...map,
      relay: store.state,
    });
    skipped = 0;
  });
  send(snapshot());
  client.on('close', unsubscribe);
  client.on('error', () => client.terminate());
}
