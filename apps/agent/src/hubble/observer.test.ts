// SPDX-License-Identifier: Apache-2.0
// Tested: Observer, Peer, health and flow metrics of a node. How: events by hand, a real gRPC client on the unix socket.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventType } from '@cilium-ts/abi';
import { silentLogger } from '@cilium-ts/base';
import {
  ChangeNotificationType,
  FlowFilter,
  GetFlowsRequest,
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
  LostEventSource,
  ObserverDefinition,
  PeerDefinition,
  Verdict,
  type GetFlowsResponse,
} from '@cilium-ts/proto';
import { RPC_STATUS, RpcClient } from '@cilium-ts/rpc';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startHubble, type Hubble } from './start.ts';
import { eventBytes, FakeDatapath, FakeNodes, LOOKUPS, unixNow } from './test-events.ts';

const CAPACITY = 15;
const { getFlows, serverStatus, getNodes, getNamespaces, getAgentEvents } = ObserverDefinition.methods;

let directory: string;
let datapath: FakeDatapath;
let nodes: FakeNodes;
let hubble: Hubble;
let client: RpcClient;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-`));
  datapath = new FakeDatapath();
  nodes = new FakeNodes();
  hubble = await startHubble({
    source: datapath,
    lookups: LOOKUPS,
    nodes,
    config: { socketPath: socket(), listenAddress: '', capacity: CAPACITY, metrics: '' },
    logger: silentLogger,
  });
  client = new RpcClient(`unix://${socket()}`);
});

afterEach(async () => {
  client.close();
  await hubble.stop();
  expect(datapath.listeners).toBe(0);
  expect(existsSync(socket())).toBe(false);
  rmSync(directory, { recursive: true });
});

const socket = (): string => join(directory, 'run', 'hubble.sock');

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Sends events with these ports and waits until they are in the ring. */
async function see(...ports: readonly number[]): Promise<void> {
  const before = await seenFlows();
  datapath.emit(...ports.map((port) => eventBytes(port)));
  await until(async () => (await seenFlows()) === before + BigInt(ports.length));
}

const status = () => client.unary(ObserverDefinition, serverStatus, {});
const seenFlows = async (): Promise<bigint> => (await status()).seenFlows;

function open(fields: Partial<GetFlowsRequest>, signal?: AbortSignal) {
  const request = { ...GetFlowsRequest.create({}), ...fields };
  return client.stream(ObserverDefinition, getFlows, request, signal ? { signal } : {});
}

function portOf({ responseTypes }: GetFlowsResponse): number {
  if (responseTypes?.$case !== 'flow') return -1;
  const protocol = responseTypes.value.l4?.protocol;
  return protocol?.$case === 'UDP' ? protocol.value.sourcePort : 0;
}

async function ports(fields: Partial<GetFlowsRequest>): Promise<number[]> {
  const found: number[] = [];
  for await (const response of open(fields)) found.push(portOf(response as GetFlowsResponse));
  return found;
}

const failure = async (fields: Partial<GetFlowsRequest>): Promise<unknown> =>
  ports(fields).then(
    () => undefined,
    (error: unknown) => error,
  );

const ofPort = (port: number): FlowFilter => ({ ...FlowFilter.create({}), sourcePort: [String(port)] });

const time = (nanos: bigint) => ({ seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) });

describe('GetFlows of what is there', () => {
  test('without a number everything, with one the last, with `first` the first', async () => {
    await see(1, 2, 3, 4, 5);
    expect(await ports({})).toEqual([1, 2, 3, 4, 5]);
    expect(await ports({ number: 2n })).toEqual([4, 5]);
    expect(await ports({ number: 2n, first: true })).toEqual([1, 2]);
    expect(await ports({ number: 99n })).toEqual([1, 2, 3, 4, 5]);
  });

  test('the number counts what passes the filters', async () => {
    await see(1, 2, 1, 2, 1, 2);
    expect(await ports({ number: 2n, whitelist: [ofPort(1)] })).toEqual([1, 1]);
    expect(await ports({ number: 1n, first: true, blacklist: [ofPort(1)] })).toEqual([2]);
    expect(await ports({ whitelist: [ofPort(7)] })).toEqual([]);
  });

  test('since and until', async () => {
    const start = unixNow() - 60_000_000_000n;
    const at = (offset: number): bigint => start + BigInt(offset) * 1_000_000_000n;
    datapath.emit(...[1, 2, 3, 4, 5].map((port) => eventBytes(port, { time: at(port) })));
    await until(async () => (await seenFlows()) === 5n);
    expect(await ports({ since: time(at(3)) })).toEqual([3, 4, 5]);
    expect(await ports({ until: time(at(3)) })).toEqual([1, 2, 3]);
    expect(await ports({ since: time(at(2)), until: time(at(4)) })).toEqual([2, 3, 4]);
    expect(await ports({ since: time(at(2)), number: 1n, first: true })).toEqual([2]);
    expect(await ports({ since: time(at(2)), number: 1n })).toEqual([5]);
  });

  test('the ring keeps the newest', async () => {
    const all = Array.from({ length: 40 }, (_, index) => index + 1);
    await see(...all);
    expect(await ports({})).toEqual(all.slice(-CAPACITY));
    expect(await status()).toMatchObject({
      numFlows: BigInt(CAPACITY),
      maxFlows: BigInt(CAPACITY),
      seenFlows: 40n,
      version: '1.20.0',
    });
  });

  test('every answer has node and time, a mask keeps its paths only', async () => {
    await see(1);
    for await (const response of open({})) {
      const { nodeName, time: stamp } = response as GetFlowsResponse;
      expect(nodeName).toBe('node1');
      expect(stamp?.seconds).toBeGreaterThan(0n);
    }
    for await (const response of open({ fieldMask: ['verdict', 'node_name'] })) {
      const { responseTypes, nodeName } = response as GetFlowsResponse;
      expect(nodeName).toBe('node1');
      if (responseTypes?.$case !== 'flow') throw new Error('no flow');
      expect(responseTypes.value).toMatchObject({ verdict: Verdict.FORWARDED, Summary: '', l4: undefined });
    }
  });
});

describe('bad requests', () => {
  test('first with follow', async () => {
    expect(await failure({ first: true, follow: true })).toMatchObject({ code: RPC_STATUS.INVALID_ARGUMENT });
  });

  test('a bad filter and a bad mask say what is wrong', async () => {
    const bad = { ...FlowFilter.create({}), protocol: ['tpc'] };
    expect(await failure({ whitelist: [bad] })).toMatchObject({ message: expect.stringContaining('tpc') });
    expect(await failure({ fieldMask: ['nothing'] })).toMatchObject({
      message: expect.stringContaining('nothing'),
    });
  });

  test('GetNodes is the relay’s', async () => {
    await expect(client.unary(ObserverDefinition, getNodes, {})).rejects.toMatchObject({
      code: RPC_STATUS.UNIMPLEMENTED,
    });
  });
});

describe('following', () => {
  function follow(fields: Partial<GetFlowsRequest> = {}) {
    const ending = new AbortController();
    const got: GetFlowsResponse[] = [];
    const call = open({ follow: true, ...fields }, ending.signal);
    const ended = new Promise<void>((resolve) => call.on('close', resolve));
    call.on('data', (response: GetFlowsResponse) => got.push(response));
    call.on('error', () => undefined);
    const attached = new Promise<void>((resolve) => call.once('metadata', () => resolve()));
    return { got, attached, stop: async () => (ending.abort(), await ended) };
  }

  test('nothing is replayed, what comes is sent, also past the number', async () => {
    await see(1, 2);
    const fresh = follow();
    const replayed = follow({ number: 1n });
    await Promise.all([fresh.attached, replayed.attached]);
    await until(() => replayed.got.length === 1);
    await see(3, 4);
    await until(() => fresh.got.length === 2 && replayed.got.length === 3);
    expect(fresh.got.map(portOf)).toEqual([3, 4]);
    expect(replayed.got.map(portOf)).toEqual([2, 3, 4]);
    await Promise.all([fresh.stop(), replayed.stop()]);
  });

  test('a follower that is overtaken is told how much it missed: sent and lost make up all', async () => {
    const reader = follow();
    await reader.attached;
    const all = Array.from({ length: 2000 }, (_, index) => index + 1);
    datapath.emit(...all.map((port) => eventBytes(port)));
    await until(() => reader.got.some((response) => portOf(response) === 2000));
    const sent = () => reader.got.map(portOf).filter((port) => port > 0);
    const lost = () =>
      reader.got.flatMap(({ responseTypes }) =>
        responseTypes?.$case === 'lostEvents' ? [responseTypes.value] : [],
      );
    const missed = () => lost().reduce((sum, event) => sum + Number(event.numEventsLost), 0);
    await until(() => sent().length + missed() >= 2000);
    expect(sent().length + missed()).toBe(2000);
    expect(missed()).toBeGreaterThan(0);
    expect(sent()).toEqual([...sent()].sort((a, b) => a - b));
    expect(lost()[0]).toMatchObject({ source: LostEventSource.HUBBLE_RING_BUFFER, first: expect.anything() });
    await reader.stop();
  });

  test('losses of the datapath pass every filter', async () => {
    const reader = follow({ whitelist: [ofPort(9)] });
    await reader.attached;
    datapath.lost = 17;
    await until(() => reader.got.length === 1);
    expect(reader.got[0]?.responseTypes).toMatchObject({
      $case: 'lostEvents',
      value: { source: LostEventSource.PERF_EVENT_RING_BUFFER, numEventsLost: 17n },
    });
    expect(await hubble.metrics!.text()).toContain(
      'hubble_lost_events_total{source="perf_event_ring_buffer"} 17',
    );
    await reader.stop();
  });
});

test('agent events: none; a follower waits until it leaves', async () => {
  const request = { number: 0n, follow: false, since: undefined, until: undefined, first: false };
  for await (const event of client.stream(ObserverDefinition, getAgentEvents, request))
    expect(event).toBe(undefined);
  const ending = new AbortController();
  const options = { signal: ending.signal };
  const call = client.stream(ObserverDefinition, getAgentEvents, { ...request, follow: true }, options);
  const ended = new Promise<{ code?: number }>((resolve) => call.on('error', resolve));
  call.resume();
  await new Promise((resolve) => call.once('metadata', resolve));
  ending.abort();
  expect((await ended).code).toBe(RPC_STATUS.CANCELLED);
});

test('namespaces of both ends', async () => {
  await see(1);
  expect(await client.unary(ObserverDefinition, getNamespaces, {})).toEqual({
    namespaces: [
      { cluster: 'default', namespace: 'shop' },
      { cluster: 'default', namespace: 'store' },
    ],
  });
});

test('health answers by the name that clients ask', async () => {
  const service = 'hubble.server.Observer';
  expect(await client.unary(HealthDefinition, HealthDefinition.methods.check, { service })).toEqual({
    status: HealthCheckResponse_ServingStatus.SERVING,
  });
});

test('peers: all nodes first, then changes; hosts without an agent are none', async () => {
  const node = (name: string, ip: string, outside = false) => ({
    name,
    internalIps: [`fd77::1`, ip],
    outside,
  });
  nodes.set([node('node1', '192.168.77.1'), node('outside1', '192.168.77.201', true)]);
  const ending = new AbortController();
  const got: string[] = [];
  const call = client.stream(PeerDefinition, PeerDefinition.methods.notify, {}, { signal: ending.signal });
  call.on('data', (change: { name: string; address: string; type: number }) => {
    const kind = Object.entries(ChangeNotificationType).find(([, type]) => type === change.type)?.[0];
    got.push(`${kind} ${change.name} ${change.address}`);
  });
  const ended = new Promise((resolve) => call.on('error', resolve));
  await until(() => got.length === 1);
  nodes.set([node('node1', '192.168.77.9'), node('node2', '192.168.77.2')]);
  await until(() => got.length === 3);
  nodes.set([node('node2', '192.168.77.2')]);
  await until(() => got.length === 4);
  expect(got).toEqual([
    'PEER_ADDED node1 192.168.77.1:4244',
    'PEER_UPDATED node1 192.168.77.9:4244',
    'PEER_ADDED node2 192.168.77.2:4244',
    'PEER_DELETED node1 192.168.77.9:4244',
  ]);
  ending.abort();
  await ended;
});

test('flow metrics count every event', async () => {
  await see(1, 2, 3);
  datapath.emit(eventBytes(4, { type: EventType.EVENT_DROP, subtype: 133 }));
  await until(async () => (await seenFlows()) === 4n);
  const lines = (await hubble.metrics!.text()).split('\n');
  const flows = lines.filter((line) => line.startsWith('hubble_flows_processed_total{'));
  expect(flows).toHaveLength(2);
  expect(flows.find((line) => line.includes('type="Trace"'))).toMatch(/verdict="FORWARDED".* 3$/);
  expect(flows.find((line) => line.includes('type="Drop"'))).toMatch(/verdict="DROPPED".* 1$/);
  expect(lines.find((line) => line.startsWith('hubble_drop_total{'))).toMatch(/reason="POLICY_DENIED".* 1$/);
});
