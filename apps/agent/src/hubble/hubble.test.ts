// SPDX-License-Identifier: Apache-2.0
// Tested: events of two nodes to the lines of `hubble`, through observer, peers and relay; faults in between.
// How: real observers on unix sockets and loopback addresses, relay and command line as processes.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { EventType } from '@cilium-ts/abi';
import type { EventSource, FlowEventBatch } from '@cilium-ts/flow';
import { batchOf, eventBytes, lookupsOf, packetBytes, SEED_LOOKUPS } from '@cilium-ts/flow/testing';
import { HealthDefinition, ObserverDefinition, ServerReflectionDefinition } from '@cilium-ts/proto';
import { RpcClient, rpcStatus } from '@cilium-ts/rpc';
import { startHubble, type Hubble } from './index.ts';
import type { PeerNode } from './peers.ts';

class FakeSource implements EventSource {
  lost = 0;
  readonly #listeners = new Set<(batch: FlowEventBatch) => void>();

  subscribe(listener: (batch: FlowEventBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  send(records: readonly Uint8Array[]): void {
    for (const listener of this.#listeners) listener(batchOf(records));
  }
}

const START = BigInt(Date.parse('2026-03-04T09:15:02Z')) * 1_000_000n;
const folder = mkdtempSync(join(tmpdir(), 'ctst-hubble-'));
const processes: ChildProcess[] = [];
const sources = [new FakeSource(), new FakeSource()];
const running: (Hubble | undefined)[] = [];
const socketOf = (index: number): string => join(folder, `node${index + 1}.sock`);
let port = 0;
let relay = '';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const found = (server.address() as AddressInfo).port;
  await new Promise((resolve) => server.close(resolve));
  return found;
}

const peerNodes = (): PeerNode[] => [
  { name: 'node1', internalIps: ['127.0.0.1'], outside: false },
  { name: 'node2', internalIps: ['127.0.0.2'], outside: false },
  { name: 'outside1', internalIps: ['127.0.0.3'], outside: true },
];

async function startNode(index: number): Promise<void> {
  running[index] = await startHubble({
    source: sources[index]!,
    lookups: lookupsOf({ ...SEED_LOOKUPS, nodeName: `node${index + 1}` }),
    nodes: { values: peerNodes, watch: () => () => undefined },
    config: {
      socketPath: socketOf(index),
      listenAddress: `127.0.0.${index + 1}:${port}`,
      capacity: 4095,
      metrics: '',
    },
    logger: silentLogger,
  });
}

function event(
  time: number,
  change: Parameters<typeof eventBytes>[0] = {},
  destination = '10.244.2.9',
): Uint8Array {
  const packet = { source: '10.244.1.7', destination, protocol: 6, sourcePort: 41822, destinationPort: 8080 };
  const head = { time: START + BigInt(time) * 1_000_000n, sourceIdentity: 18211, destinationIdentity: 20455 };
  return eventBytes({ ...head, ...change }, packetBytes(packet));
}

const drop = (time: number): Uint8Array =>
  event(
    time,
    { type: EventType.EVENT_DROP, subtype: 133, direction: 1, ruleSet: 3, destinationIdentity: 2 },
    '203.0.113.9',
  );

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const NODE = ['--conditions=@cilium-ts/source'];

function hubble(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...NODE, 'apps/hubble-cli/src/main.ts', ...args], (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

const onNode1 = (...args: string[]): Promise<Ran> => hubble(...args, '--server', `unix://${socketOf(0)}`);
const onRelay = (...args: string[]): Promise<Ran> => hubble(...args, '--server', relay);

async function eventually<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
  const end = Date.now() + 15_000;
  while (Date.now() < end) {
    const found = await probe();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within 15 s: ${what}`);
}

beforeAll(async () => {
  port = await freePort();
  relay = `127.0.0.1:${await freePort()}`;
  await startNode(0);
  await startNode(1);
  sources[0]!.send([event(1), drop(3)]);
  sources[1]!.send([event(2), event(4)]);
  const args = [
    'serve',
    `--peer-service=unix://${socketOf(0)}`,
    `--listen-address=${relay}`,
    '--health-listen-address=',
  ];
  const child = spawn(process.execPath, [...NODE, 'apps/hubble-relay/src/main.ts', ...args], {
    stdio: 'ignore',
  });
  processes.push(child);
}, 20_000);

afterAll(async () => {
  for (const child of processes) child.kill('SIGKILL');
  await Promise.all(running.map((node) => node?.stop()));
  rmSync(folder, { recursive: true, force: true });
});

const FORWARDED =
  'Mar  4 09:15:02.001: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) -> production/backend-0:8080 (ID:20455) to-endpoint FORWARDED (TCP Flags: SYN)\n';
const DROPPED =
  'Mar  4 09:15:02.003: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) <> 203.0.113.9:8080 (world) Policy denied DROPPED (TCP Flags: SYN) BY CNP production/allow-frontend-to-backend egress (spec line 5) (default deny egress)\n';

describe('on a node', () => {
  test('observe prints the flows of this node', async () => {
    const { stdout, stderr, code } = await onNode1('observe');
    expect({ stdout, stderr, code }).toEqual({ stdout: FORWARDED + DROPPED, stderr: '', code: 0 });
  });

  test.each([
    [['--verdict', 'DROPPED'], DROPPED],
    [['--last', '1'], DROPPED],
    [['--first', '1'], FORWARDED],
    [['--from-pod', 'production/frontend', '--type', 'trace:to-endpoint'], FORWARDED],
    [['--namespace', 'production', '--protocol', 'tcp', '--not', '--verdict', 'dropped'], FORWARDED],
    [['--to-ip', '203.0.113.0/24', '--port', '8080'], DROPPED],
    [['--until', '2026-03-04T09:15:02.002Z'], FORWARDED],
    [['--since', '2026-03-04T09:15:02.002Z'], DROPPED],
    [['--to-label', 'app=backend,tier in (db)'], FORWARDED],
    [['--http-status'], ''],
    [['--namespace', 'monitoring'], ''],
  ])('observe %j', async (args, expected) => {
    const { stdout, stderr } = await onNode1('observe', ...args);
    expect(stderr).toBe('');
    expect(stdout).toBe(expected);
  });

  test('table and dict', async () => {
    const table = await onNode1('observe', '-o', 'table', '--last', '1');
    expect(table.stdout).toMatch(
      /^TIMESTAMP {13}SOURCE {39}DESTINATION {8}TYPE {12}VERDICT {3}SUMMARY\nMar {2}4 09:15:02.003 {3}production/,
    );
    const dict = await onNode1('observe', '-odict');
    expect(dict.stdout).toMatch(/^ {2}TIMESTAMP: Mar {2}4 09:15:02.001\n[^]*\n------------\n {2}TIMESTAMP: /);
  });

  test('json with a field mask', async () => {
    const { stdout } = await onNode1(
      'observe',
      '-o',
      'json',
      '--last',
      '1',
      '--field-mask',
      'verdict,source.namespace',
    );
    expect(JSON.parse(stdout)).toEqual({ flow: { verdict: 'DROPPED', source: { namespace: 'production' } } });
  });

  test.each([
    [['observe', '--nope'], /unknown flag: --nope/],
    [['observe', '--verdict', 'MAYBE'], /allowed: FORWARDED, DROPPED/],
    [['observe', '--protocol', 'xyz'], /unknown protocol "xyz".*INVALID_ARGUMENT/],
    [['observe', '--http-path', '/x'], /needs L7 flows.*UNIMPLEMENTED/],
    [['observe', '--first', '1', '--last', '1'], /cannot be combined/],
    [['observe', '--ip', '10.0.0.1', '--pod', 'a'], /filters --ip and --pod cannot be combined/],
    [['list', 'nodes'], /ask hubble-relay/],
    [['nothing'], /unknown command/],
  ])('%j is refused', async (args, message) => {
    const { stderr, code } = await onNode1(...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });

  test('follow shows what comes, and what was lost', async () => {
    const args = [
      ...NODE,
      'apps/hubble-cli/src/main.ts',
      'observe',
      '-f',
      '--server',
      `unix://${socketOf(1)}`,
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    processes.push(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    let time = 100;
    await eventually('a followed flow', () => {
      sources[1]!.send([event(time++)]);
      return Promise.resolve(output.includes('FORWARDED'));
    });
    expect(output).not.toContain('09:15:02.002');
    sources[1]!.lost += 7;
    await eventually('the loss', () => Promise.resolve(/EVENTS LOST: PERF_EVENT_RING_BUFFER 7/.test(output)));
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
  });

  test('status, namespaces and peers', async () => {
    const { stdout } = await onNode1('status');
    expect(stdout).toMatch(
      /^Healthcheck \(via unix:.*\): Ok\nCurrent\/Max Flows: 2\/4,095 \(0\.05%\)\nFlows\/s: \d+\.\d\d\n$/,
    );
    expect((await onNode1('list', 'namespaces')).stdout).toBe('NAMESPACE\nproduction\n');
    const args = [
      ...NODE,
      'apps/hubble-cli/src/main.ts',
      'watch',
      'peers',
      '--server',
      `unix://${socketOf(0)}`,
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    processes.push(child);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await eventually('both peers', () => Promise.resolve(output.split('\n').length > 2));
    child.kill('SIGINT');
    expect(output).toBe(`PEER_ADDED   127.0.0.1:${port} node1\nPEER_ADDED   127.0.0.2:${port} node2\n`);
  });

  test('health and reflection answer, versions are told', async () => {
    const client = new RpcClient(`unix://${socketOf(0)}`);
    const { check } = HealthDefinition.methods;
    await expect(
      client.unary(HealthDefinition, check, { service: 'hubble.server.Observer' }),
    ).resolves.toEqual({ status: 1 });
    const unknown = client.unary(HealthDefinition, check, { service: 'x' });
    expect(await unknown.catch(rpcStatus)).toBe(5);
    const { serverStatus } = ObserverDefinition.methods;
    const { headers } = await client.unaryWithHeaders(ObserverDefinition, serverStatus, {});
    expect(headers.get('hubble-server-version')).toEqual(['0.1.0']);
    expect(ServerReflectionDefinition.fullName).toBe('grpc.reflection.v1.ServerReflection');
    client.close();
  });

  test('metrics count every event', async () => {
    const text = await running[0]!.metrics!.text();
    expect(text).toContain(
      'hubble_flows_processed_total{protocol="TCP",type="Trace",subtype="to-endpoint",verdict="FORWARDED"} 1',
    );
    expect(text).toContain('hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1');
    expect(text).toContain('hubble_tcp_flags_total{flag="SYN",family="IPv4"} 1');
  });
});

describe('through the relay', () => {
  const connected = /node1 +Connected.*\nnode2 +Connected/;

  test('nodes are listed and counted', async () => {
    await eventually('both nodes', async () => connected.test((await onRelay('list', 'nodes')).stdout));
    const { stdout } = await onRelay('status');
    expect(stdout).toMatch(/Healthcheck .*: Ok\n[^]*Connected Nodes: 2\/2\n$/);
    expect((await onRelay('list', 'nodes', '-o', 'wide')).stdout).toContain(`127.0.0.2:${port}   Disabled`);
  });

  test('flows of all nodes come in order of time', async () => {
    const { stdout, stderr } = await onRelay(
      'observe',
      '--first',
      '2',
      '--print-node-name',
      '--time-format',
      'RFC3339Milli',
    );
    expect(stderr).toBe('');
    const heads = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.slice(0, 32));
    expect(heads).toEqual([
      '2026-03-04T09:15:02.001Z [node1]',
      '2026-03-04T09:15:02.002Z [node2]',
      '2026-03-04T09:15:02.003Z [node1]',
      '2026-03-04T09:15:02.004Z [node2]',
    ]);
  });

  test('a bad filter is told with the nodes that refused it', async () => {
    const { stderr } = await onRelay('observe', '--protocol', 'xyz');
    expect(stderr).toMatch(/Error "unknown protocol.*on 2 nodes: node1, node2/);
  });

  test('a node that goes is unavailable, and back when it is back', async () => {
    await running[1]!.stop();
    await eventually('node2 away', async () =>
      /node2 +(Unavailable|Error)/.test((await onRelay('list', 'nodes')).stdout),
    );
    const { stdout } = await onRelay('observe', '--last', '1');
    expect(stdout).toContain('DROPPED');
    await startNode(1);
    await eventually('node2 back', async () => connected.test((await onRelay('list', 'nodes')).stdout));
    await running[0]!.stop();
    await startNode(0);
    await eventually('node1 back', async () => connected.test((await onRelay('list', 'nodes')).stdout));
  }, 60_000);
});

test('100,000 events pass, the ring keeps the newest, a slow reader is told what it missed', async () => {
  const source = new FakeSource();
  const node = await startHubble({
    source,
    lookups: lookupsOf(SEED_LOOKUPS),
    nodes: { values: () => [], watch: () => () => undefined },
    config: { socketPath: join(folder, 'many.sock'), listenAddress: '', capacity: 1023, metrics: undefined },
    logger: silentLogger,
  });
  const client = new RpcClient(`unix://${join(folder, 'many.sock')}`);
  const { getFlows, serverStatus } = ObserverDefinition.methods;
  const base = {
    number: 0n,
    first: false,
    follow: false,
    blacklist: [],
    whitelist: [],
    since: undefined,
    until: undefined,
  };
  const request = { ...base, fieldMask: undefined, experimental: undefined, extensions: undefined };
  const stop = new AbortController();
  let flows = 0;
  let missed = 0;
  const reading = (async () => {
    for await (const response of client.stream(
      ObserverDefinition,
      getFlows,
      { ...request, follow: true },
      { signal: stop.signal },
    )) {
      const inner = (response as { responseTypes?: { $case: string; value: { numEventsLost: bigint } } })
        .responseTypes;
      if (inner?.$case === 'flow') flows++;
      else missed += Number(inner?.value.numEventsLost ?? 0);
    }
  })().catch(() => undefined);
  await client.waitReady(5000);
  await eventually('the reader', () => {
    source.send([event(0)]);
    return Promise.resolve(flows > 0);
  });
  const seen = async (): Promise<bigint> =>
    ((await client.unary(ObserverDefinition, serverStatus, {})) as Status).seenFlows;
  const before = await seen();
  for (let sent = 0; sent < 100_000; sent += 20_000) {
    source.send(Array.from({ length: 20_000 }, (_, i) => event(sent + i)));
    await eventually('all of them', async () => (await seen()) === before + BigInt(sent) + 20_000n);
  }
  const status = (await client.unary(ObserverDefinition, serverStatus, {})) as Status;
  expect(status.numFlows).toBe(1023n);
  await eventually('the reader’s account', () => Promise.resolve(flows + missed >= 100_000));
  stop.abort();
  await reading;
  client.close();
  await node.stop();
}, 60_000);

interface Status {
  readonly seenFlows: bigint;
  readonly numFlows: bigint;
}
