// SPDX-License-Identifier: Apache-2.0
// Tested: what the browser gets, and that it goes on after the relay was restarted. How: a real gRPC server as relay, real
// HTTP and WebSocket clients.
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { buildFlow, takeRecord } from '@cilium-ts/flow';
import { eventBytes, lookupsOf, packetBytes, SEED_LOOKUPS } from '@cilium-ts/flow/testing';
import { ObserverDefinition, type Flow } from '@cilium-ts/proto';
import { RpcError, RpcServer, type Outbox } from '@cilium-ts/rpc';
import { WebSocket } from 'ws';
import { FlowStore } from './flow-store.ts';
import { uiConfig } from './ui-config.ts';
import { startUiServer, type UiServer } from './ui-server.ts';

const lookups = lookupsOf({ ...SEED_LOOKUPS, clockOffset: BigInt(Date.now()) * 1_000_000n });
let sequence = 0;

function flow(change: Parameters<typeof eventBytes>[0] = {}, destination = '10.244.2.9'): Flow {
  const packet = { source: '10.244.1.7', destination, protocol: 6, sourcePort: 41822, destinationPort: 8080 };
  const head = { sourceIdentity: 18211, destinationIdentity: 20455, sequence: ++sequence };
  const bytes = eventBytes({ ...head, ...change }, packetBytes(packet));
  return buildFlow(lookups, takeRecord(lookups, bytes, 0, bytes.length)!);
}

const drop = (): Flow =>
  flow({ type: 1, subtype: 133, direction: 1, ruleSet: 3, destinationIdentity: 2 }, '203.0.113.9');

let listeners = new Set<Outbox<never>>();

async function startRelay(address: string): Promise<{ server: RpcServer; port: number }> {
  const server = new RpcServer({ logger: silentLogger });
  const unsupported = (): never => {
    throw new RpcError(12, 'not here');
  };
  server.addService(ObserverDefinition, {
    getFlows: async (_request, out) => {
      listeners.add(out as Outbox<never>);
      await new Promise<void>((resolve) => out.signal.addEventListener('abort', () => resolve()));
    },
    getAgentEvents: unsupported,
    getDebugEvents: unsupported,
    getNodes: unsupported,
    getNamespaces: unsupported,
    serverStatus: unsupported,
  });
  return { server, port: await server.listen(address) };
}

function send(value: Flow): void {
  const response = { responseTypes: { $case: 'flow', value }, nodeName: 'node1', time: value.time };
  for (const out of listeners) out.write(response as never);
}

async function eventually(what: string, probe: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!probe()) {
    if (Date.now() > end) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let relay: { server: RpcServer; port: number };
let store: FlowStore;
let ui: UiServer;
let base = '';

beforeAll(async () => {
  relay = await startRelay('127.0.0.1:0');
  store = new FlowStore(`127.0.0.1:${relay.port}`, 10, silentLogger).start();
  ui = await startUiServer(store, '127.0.0.1', 0);
  base = `http://127.0.0.1:${ui.port}`;
  await eventually('the subscription', () => listeners.size > 0);
  send(flow());
  send(drop());
  await eventually('both flows', () => store.flows(10, () => true).length === 2);
});

afterAll(async () => {
  store.stop();
  await ui.stop();
  await relay.server.stop();
});

const get = async (path: string): Promise<Record<string, unknown>> =>
  (await (await fetch(base + path)).json()) as Record<string, unknown>;

test('flows and the map, with the dropped link and its policy', async () => {
  const { flows } = (await get('/api/flows?verdict=dropped')) as { flows: Record<string, unknown>[] };
  expect(flows).toHaveLength(1);
  expect(flows[0]).toMatchObject({
    verdict: 'DROPPED',
    port: 8080,
    decidedBy: expect.stringContaining('CNP production/allow-frontend-to-backend'),
  });
  const map = (await get('/api/service-map?namespace=production')) as {
    cards: { id: string }[];
    links: object[];
  };
  expect(map.cards.map(({ id }) => id).sort()).toEqual([
    'production/backend',
    'production/frontend',
    'world',
  ]);
  expect(map.links).toContainEqual(
    expect.objectContaining({
      source: 'production/frontend',
      destination: 'world',
      dropped: 1,
      forwarded: 0,
    }),
  );
  expect(((await get('/api/service-map?namespace=other')) as typeof map).links).toEqual([]);
});

test('bad queries are refused, the page and health are there', async () => {
  expect((await fetch(`${base}/api/flows?limit=0`)).status).toBe(400);
  const page = await fetch(base);
  expect(page.headers.get('content-type')).toContain('text/html');
  expect(await page.text()).toContain('/page.js');
  const script = await (await fetch(`${base}/page.js`)).text();
  expect(() => new Function(script)).not.toThrow();
  expect(await get('/healthz')).toMatchObject({ status: 'ok', relay: { connected: true } });
});

test('a browser hears of new flows, also after the relay was restarted', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${ui.port}/api/stream?namespace=production`);
  const messages: { type: string; flows: { verdict: string }[] }[] = [];
  socket.on('message', (data: Buffer) =>
    messages.push(JSON.parse(data.toString()) as (typeof messages)[number]),
  );
  await eventually('the snapshot', () => messages.length > 0);
  expect(messages[0]).toMatchObject({ type: 'snapshot', flows: [{}, {}] });
  send(drop());
  await eventually('an update', () =>
    messages.some(({ type, flows }) => type === 'update' && flows[0]?.verdict === 'DROPPED'),
  );
  listeners = new Set();
  await relay.server.stop();
  await eventually('the loss of the relay', () => !store.state.connected);
  relay = await startRelay(`127.0.0.1:${relay.port}`);
  await eventually('the new subscription', () => listeners.size > 0);
  const before = messages.length;
  send(flow());
  await eventually('a flow of the new relay', () => messages.length > before);
  expect(store.state.connected).toBe(true);
  socket.close();
  await once(socket, 'close');
}, 30_000);

test('pages of other origins may not listen', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${ui.port}/api/stream`, { origin: 'http://evil.example' });
  const [error] = (await once(socket, 'error')) as [Error];
  expect(error.message).toContain('404');
});

test('configuration', () => {
  expect(uiConfig(['--listen=:1', '--relay=r:80'], {})).toMatchObject({ host: '::', port: 1, relay: 'r:80' });
  expect(() => uiConfig(['--nope=1'], {})).toThrow(/unknown flag/);
  expect(() => uiConfig(['--listen=x'], {})).toThrow(/HOST:PORT/);
});
