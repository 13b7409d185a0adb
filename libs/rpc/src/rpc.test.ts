// SPDX-License-Identifier: Apache-2.0
// Tested: addresses, servers and clients of gRPC. How: real ones on a unix socket and on loopback.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, silentLogger } from '@cilium-ts/base';
import {
  HealthCheckResponse_ServingStatus as Serving,
  HealthDefinition,
  PeerDefinition,
  ServerReflectionAlphaDefinition,
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@cilium-ts/proto';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { dialTarget, listenTargets, unixPath } from './address.ts';
import { RPC_STATUS, RpcClient, rpcMessage, rpcStatus } from './client.ts';
import { methodPath } from './definition.ts';
import { addHealth, pause } from './health.ts';
import { addReflection } from './reflection.ts';
import { RpcError, RpcServer } from './server.ts';

describe('addresses', () => {
  test('as gRPC wants them', () => {
    expect(unixPath('unix:///a/b.sock')).toBe('/a/b.sock');
    expect(unixPath('host:1')).toBeUndefined();
    expect(listenTargets(':4245')).toEqual(['[::]:4245', '0.0.0.0:4245']);
    expect(listenTargets('[::1]:80')).toEqual(['[::1]:80']);
    expect(dialTarget(':4245')).toBe('localhost:4245');
    expect(dialTarget('unix:/a')).toBe('unix:/a');
  });

  test.each(['4245', 'host', 'host:99999', ''])('%j is refused', (address) =>
    expect(() => listenTargets(address)).toThrow(/use :PORT, HOST:PORT or unix/),
  );

  test('TLS is refused, not ignored', () => expect(() => dialTarget('tls://a:1')).toThrow(/TLS/));
});

let directory: string;
let path: string;
let server: RpcServer;
let client: RpcClient;
let serving: boolean;
let failure: unknown;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-`));
  path = join(directory, 'rpc.sock');
  serving = true;
  failure = undefined;
  await startServer();
  client = new RpcClient(`unix://${path}`);
});

afterEach(async () => {
  client.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

async function startServer(): Promise<void> {
  server = new RpcServer({ headers: { 'x-version': 'v1' }, logger: silentLogger });
  server.addService(PeerDefinition, {
    notify: async (_request, out) => {
      if (failure !== undefined) throw failure;
      out.write({ name: 'a', address: 'b', type: 1, tls: undefined });
      while (!out.signal.aborted) await pause(60_000, out.signal);
    },
  });
  addHealth(server, ['one'], () => serving);
  addReflection(server);
  await server.listen(`unix://${path}`);
}

const check = (service: string) =>
  client.unaryWithHeaders(HealthDefinition, HealthDefinition.methods.check, { service });
const notify = () => client.stream(PeerDefinition, PeerDefinition.methods.notify, {});

describe('a server', () => {
  test('answers with its version and its health', async () => {
    const { response, headers } = await check('one');
    expect(response.status).toBe(Serving.SERVING);
    expect(headers.get('x-version')).toEqual(['v1']);
    serving = false;
    expect((await check('')).response.status).toBe(Serving.NOT_SERVING);
    await expect(check('two')).rejects.toMatchObject({ code: RPC_STATUS.NOT_FOUND });
  });

  test('tells a watcher when its health changes', async () => {
    const { watch } = HealthDefinition.methods;
    const told: Serving[] = [];
    for await (const { status } of client.stream(HealthDefinition, watch, { service: 'one' })) {
      told.push(status);
      serving = false;
      if (told.length === 2) break;
    }
    expect(told).toEqual([Serving.SERVING, Serving.NOT_SERVING]);
  });

  test.each<[string, unknown, number]>([
    ['its own status', new RpcError(RPC_STATUS.UNIMPLEMENTED, 'why'), RPC_STATUS.UNIMPLEMENTED],
    ['bad input', new AppError('bad-filter', 'why'), RPC_STATUS.INVALID_ARGUMENT],
    ['anything else', new Error('why'), RPC_STATUS.UNKNOWN],
  ])('gives %s as a status', async (_title, thrown, code) => {
    failure = thrown;
    const error = await notify()
      .toArray()
      .catch((caught: unknown) => caught);
    expect([rpcStatus(error), rpcMessage(error)]).toEqual([code, 'why']);
  });

  test('ends its streams and removes its socket when it stops', async () => {
    const stream = notify();
    const received: unknown[] = [];
    stream.on('data', (message: unknown) => received.push(message));
    stream.on('error', () => undefined);
    while (received.length === 0) await pause(5, new AbortController().signal);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    await server.stop();
    await closed;
    expect(existsSync(path)).toBe(false);
  });

  test('replaces a socket file that a killed one left, and its clients come back', async () => {
    await check('one');
    await server.stop();
    writeFileSync(path, '');
    await startServer();
    for (;;) {
      const answer = await check('one').catch(() => undefined);
      if (answer) break;
      await client.whenChanged(1000);
    }
    expect(client.state).toBe('ready');
  });

  test('names the address that it cannot have', async () => {
    const first = new RpcServer({ logger: silentLogger });
    const second = new RpcServer({ logger: silentLogger });
    const port = await first.listen('127.0.0.1:0');
    await expect(second.listen(`127.0.0.1:${port}`)).rejects.toThrow(`cannot listen on 127.0.0.1:${port}`);
    await first.stop();
    await second.stop();
  });
});

test('a client says what it could not reach', async () => {
  const lost = new RpcClient(`unix://${directory}/none.sock`);
  await expect(lost.waitReady(100)).rejects.toThrow(/cannot connect to unix:.*none\.sock within 0\.1 s/);
  lost.close();
  expect(lost.state).toBe('shutdown');
});

describe.each([
  ['v1', ServerReflectionDefinition],
  ['v1alpha', ServerReflectionAlphaDefinition],
])('reflection %s', (_version, definition) => {
  async function ask(
    messageRequest: ServerReflectionRequest['messageRequest'],
  ): Promise<ServerReflectionResponse['messageResponse']> {
    const method = definition.methods.serverReflectionInfo;
    const raw = new Client(`unix:${path}`, credentials.createInsecure());
    const call = raw.makeBidiStreamRequest<ServerReflectionRequest, ServerReflectionResponse>(
      methodPath(definition, method),
      (request) => Buffer.from(method.requestType.encode(request).finish()),
      (bytes) => method.responseType.decode(bytes),
    );
    call.write({ host: 'here', messageRequest });
    call.end();
    const [answer] = (await call.toArray()) as ServerReflectionResponse[];
    raw.close();
    expect(answer?.validHost).toBe('here');
    return answer?.messageResponse;
  }

  test('lists services and gives the file of a symbol with what it needs', async () => {
    const services = await ask({ $case: 'listServices', value: '' });
    if (services?.$case !== 'listServicesResponse') throw new Error('no list');
    const names = services.value.service.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['peer.Peer', 'grpc.health.v1.Health']));
    const found = await ask({ $case: 'fileContainingSymbol', value: 'flow.Flow' });
    if (found?.$case !== 'fileDescriptorResponse') throw new Error('no file');
    expect(found.value.fileDescriptorProto.length).toBeGreaterThan(1);
    expect(await ask({ $case: 'fileContainingSymbol', value: 'flow.Nothing' })).toMatchObject({
      $case: 'errorResponse',
      value: { errorCode: RPC_STATUS.NOT_FOUND },
    });
  });
});
