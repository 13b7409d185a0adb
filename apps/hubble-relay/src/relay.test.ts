// SPDX-License-Identifier: Apache-2.0
// Tested: agents -> relay -> command line, and agents that die and come back. How: agents by hand behind real gRPC on
// loopback, the relay of this folder, the `hubble` program as a process.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import {
  Flow,
  GetFlowsRequest,
  GetFlowsResponse,
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
  NodeState,
  ObserverDefinition,
  TraceObservationPoint,
  Verdict,
} from '@cilium-ts/proto';
import { createLogger } from '@cilium-ts/telemetry';
import { RPC_STATUS, RpcClient, RpcMetadata, rpcStatus } from '@cilium-ts/rpc';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { relayConfig } from './relay-config.ts';
import { startRelay, type Relay } from './relay.ts';
import { TestAgent } from './test-agent.ts';

const { getFlows, getNodes, serverStatus, getAgentEvents } = ObserverDefinition.methods;
const START = 1_772_615_702n;

let agents: TestAgent[];
let relay: Relay;
let client: RpcClient;

beforeEach(async () => {
  agents = [new TestAgent('node1'), new TestAgent('node2')];
  for (const agent of agents) await agent.start();
  for (const agent of agents) agent.peers = agents.map(({ peer }) => peer);
  const flags = ['--listen-address=127.0.0.1:0', '--health-listen-address=', '--retry-timeout=100ms'];
  const config = relayConfig(['serve', `--peer-service=${agents[0]!.peer.address}`, ...flags], {});
  relay = await startRelay(config, createLogger({ component: 'hubble-relay', level: 'silent' }));
  client = new RpcClient(`127.0.0.1:${relay.port}`);
  await until(async () => (await statusNow()).numConnectedNodes === 2);
});

afterEach(async () => {
  client.close();
  await relay.stop();
  for (const agent of agents) await agent.stop();
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

const statusNow = () => client.unary(ObserverDefinition, serverStatus, {});

function flowAt(millis: number, more: Partial<Flow> = {}): Flow {
  const flow = Flow.fromPartial({
    time: { seconds: START + BigInt(Math.floor(millis / 1000)), nanos: (millis % 1000) * 1e6 },
    uuid: String(millis),
    verdict: Verdict.FORWARDED,
    IP: { source: '10.244.1.5', destination: '10.244.2.9', ipVersion: 1 },
    l4: { protocol: { $case: 'TCP', value: { sourcePort: 41_822, destinationPort: 8080 } } },
    source: { identity: 18_211, namespace: 'production', podName: 'frontend-0' },
    destination: { identity: 20_455, namespace: 'production', podName: 'backend-0' },
    eventType: { type: 4, subType: 0 },
    traceObservationPoint: TraceObservationPoint.TO_ENDPOINT,
    isReply: false,
    Summary: 'TCP Flags: SYN',
  });
  return { ...flow, ...more };
}

const DROPPED: Partial<Flow> = {
  verdict: Verdict.DROPPED,
  eventType: { type: 1, subType: 133 },
  dropReasonDesc: 133,
  isReply: undefined,
  egressDeniedBy: [
    {
      name: 'allow-frontend-to-backend',
      namespace: 'production',
      kind: 'CiliumNetworkPolicy',
      labels: ['cilium-ts.io/path=egress', 'cilium-ts.io/line=2', 'cilium-ts.io/default-deny=true'],
      revision: 1n,
    },
  ],
};

async function hubble(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const main = ['--conditions=@cilium-ts/source', 'apps/hubble-cli/src/main.ts'];
  const env = { ...process.env, HUBBLE_SERVER: `127.0.0.1:${relay.port}`, NODE_NO_WARNINGS: '1' };
  return promisify(execFile)(process.execPath, [...main, ...args], { env });
}

describe('the command line through the relay', () => {
  test('shows the flows of all nodes in order of time', async () => {
    agents[0]!.add(flowAt(417));
    agents[0]!.add(flowAt(419));
    agents[1]!.add(flowAt(418));
    agents[1]!.add(flowAt(420, DROPPED));
    const ends = 'production/frontend-0:41822 (ID:18211) -> production/backend-0:8080 (ID:20455)';
    const seen = (millis: number, node: number): string =>
      `Mar  4 09:15:02.${millis} [node${node}]: ${ends} to-endpoint FORWARDED (TCP Flags: SYN)\n`;
    const { stdout, stderr } = await hubble('observe', '--print-node-name');
    const [denied] = stdout.split('\n').slice(3);
    expect(stdout.split('\n').slice(0, 3).join('\n')).toBe(
      (seen(417, 1) + seen(418, 2) + seen(419, 1)).trim(),
    );
    expect(denied).toMatch(
      /^Mar {2}4 09:15:02\.420 \[node2\]: .* <> .* Policy denied DROPPED \(TCP Flags: SYN\) BY CNP /,
    );
    expect(denied).toMatch(/ production\/allow-frontend-to-backend egress .*line 2\).*default deny/);
    expect(stderr).toBe('');
  });

  test('status and lists speak for the whole cluster', async () => {
    const status = await hubble('status');
    expect(status.stdout).toBe(
      `Healthcheck (via 127.0.0.1:${relay.port}): Ok\nCurrent/Max Flows: 6/14 (42.86%)\nFlows/s: 3.00\nConnected Nodes: 2/2\n`,
    );
    const nodes = await hubble('list', 'nodes');
    expect(nodes.stdout).toBe(
      'NAME    STATUS      AGE    FLOWS/S   CURRENT/MAX-FLOWS\n' +
        'node1   Connected   1m1s   0.98      3/7 ( 42.86%)\n' +
        'node2   Connected   1m1s   0.98      3/7 ( 42.86%)\n',
    );
    expect((await hubble('list', 'namespaces')).stdout).toBe('NAMESPACE\nnode1\nnode2\n');
  });

  test('an agent that is away is told and the rest is shown', async () => {
    agents[0]!.add(flowAt(417));
    await agents[1]!.stop();
    await until(async () => (await statusNow()).numUnavailableNodes === 1);
    expect((await hubble('status')).stdout).toMatch(/Connected Nodes: 1\/2\n.*\n {2}- node2\n/);
    const { stdout, stderr } = await hubble('observe');
    expect(stdout).toContain('to-endpoint FORWARDED');
    expect(stderr).toContain('node2');
  });
});

/** What a follower got so far. */
function follow(): { uuids: string[]; stop: () => void } {
  const abort = new AbortController();
  const uuids: string[] = [];
  const request = GetFlowsRequest.fromPartial({ follow: true });
  const stream = client.stream(ObserverDefinition, getFlows, request, { signal: abort.signal });
  stream.on('data', ({ responseTypes: inner }: GetFlowsResponse) => {
    if (inner?.$case === 'flow') uuids.push(inner.value.uuid);
  });
  stream.on('error', () => undefined);
  return { uuids, stop: () => abort.abort() };
}

describe('a follower', () => {
  test('gets flows of an agent that was restarted', async () => {
    const { uuids, stop } = follow();
    await until(() => agents.every(({ followers }) => followers === 1));
    agents[1]!.add(flowAt(1));
    await until(() => uuids.includes('1'));
    await agents[1]!.stop();
    agents[1]!.flows.length = 0;
    agents[0]!.add(flowAt(2));
    await until(() => uuids.includes('2'));
    await agents[1]!.start();
    await until(() => agents[1]!.followers === 1);
    agents[1]!.add(flowAt(3));
    await until(() => uuids.includes('3'));
    expect(uuids).toEqual(['1', '2', '3']);
    stop();
  });

  test('keeps its other nodes when the agent that tells the peers dies, and gets it back', async () => {
    const { uuids, stop } = follow();
    await until(() => agents.every(({ followers }) => followers === 1));
    await agents[0]!.stop();
    agents[1]!.add(flowAt(1));
    await until(() => uuids.includes('1'));
    const { nodes } = await client.unary(ObserverDefinition, getNodes, {});
    expect(nodes.map(({ name }) => name)).toEqual(['node1', 'node2']);
    await agents[0]!.start();
    await until(() => agents[0]!.followers === 1);
    agents[0]!.add(flowAt(2));
    await until(() => uuids.includes('2'));
    const { check } = HealthDefinition.methods;
    const health = async (): Promise<number> =>
      (await client.unary(HealthDefinition, check, { service: 'hubble.server.Observer' })).status;
    await until(async () => (await health()) === HealthCheckResponse_ServingStatus.SERVING);
    stop();
  });
});

describe('the wire', () => {
  test('fields of newer agents and metadata of clients pass', async () => {
    // Field 5000, three bytes.
    const unknown = Buffer.from([0xc2, 0xb8, 0x02, 3, 7, 8, 9]);
    agents[0]!.add(flowAt(1), unknown);
    const metadata = new RpcMetadata();
    metadata.set('x-tenant', 'blue');
    const request = GetFlowsRequest.fromPartial({ number: 5n });
    const stream = client.rawStream(ObserverDefinition, getFlows, request, { metadata });
    const received: Buffer[] = [];
    for await (const bytes of stream) received.push(bytes as Buffer);
    const first = GetFlowsResponse.decode(received[0]!).responseTypes;
    expect(first).toMatchObject({
      $case: 'nodeStatus',
      value: { stateChange: NodeState.NODE_CONNECTED, nodeNames: ['node1', 'node2'] },
    });
    expect(received.at(-1)!.includes(unknown)).toBe(true);
    expect(agents[0]!.metadata).toMatchObject({ 'x-tenant': 'blue' });
  });

  test('what a relay cannot do is said by its status', async () => {
    const request = GetFlowsRequest.fromPartial({ first: true, follow: true });
    await expect(client.stream(ObserverDefinition, getFlows, request).toArray()).rejects.toMatchObject({
      code: RPC_STATUS.INVALID_ARGUMENT,
    });
    const events = client.stream(ObserverDefinition, getAgentEvents, {
      number: 0n,
      follow: false,
      since: undefined,
      until: undefined,
      first: false,
    });
    const failure = await events.toArray().catch((error: unknown) => error);
    expect(rpcStatus(failure)).toBe(RPC_STATUS.UNIMPLEMENTED);
  });
});

describe('configuration', () => {
  test('flags come before the environment', () => {
    const environment = { HUBBLE_RELAY_PEER_SERVICE: 'a:1', HUBBLE_RELAY_LISTEN_ADDRESS: ':9' };
    expect(relayConfig(['serve', '--peer-service=b:2'], environment)).toMatchObject({
      peerService: 'b:2',
      listenAddress: ':9',
    });
  });

  test.each([
    [[], /usage: hubble-relay serve/],
    [['serve', '--peers=x'], /unknown flag --peers/],
    [['serve', '--retry-timeout=soon'], /retry-timeout.*allowed: a duration/],
    [['serve', '--sort-buffer-len-max=0'], /sort-buffer-len-max.*allowed/],
    [['serve', '--log-level=loud'], /log-level.*allowed/],
  ])('%j is refused', (args, message) => expect(() => relayConfig(args, {})).toThrow(message));

  test('an address in use is named', async () => {
    const config = relayConfig(
      ['serve', `--listen-address=127.0.0.1:${relay.port}`, '--health-listen-address='],
      {},
    );
    const logger = createLogger({ component: 'hubble-relay', level: 'silent' });
    await expect(startRelay(config, logger)).rejects.toThrow(`127.0.0.1:${relay.port}`);
  });
});
