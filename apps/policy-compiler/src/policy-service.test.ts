// SPDX-License-Identifier: Apache-2.0
// Tested: Validate, Explain, Sync, Report, Status, health and reflection over a real socket. How: a gRPC client; the
// compiler is its engine and what it published.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { PolicyEngine, decodeRuleSet, type NodeReport } from '@cilium-ts/policy';
import { parsed, podLabels } from '@cilium-ts/policy/testing';
import {
  ExplainRequest,
  HealthDefinition,
  PolicyCompilerDefinition as Service,
  type SyncResponse,
} from '@cilium-ts/proto';
import { RPC_STATUS, RpcClient } from '@cilium-ts/rpc';
import type { Compiler } from './compiler.ts';
import { PolicyService } from './policy-service.ts';
import { PublishedState } from './published-state.ts';

const socket = `unix:///tmp/ctst-${process.pid}-policy.sock`;
const engine = new PolicyEngine({ cluster: 'default' });
const published = new PublishedState();
const reports = new Map<string, NodeReport>();
const compiler = {
  engine,
  published,
  reports,
  nodes: new Set(['node1']),
  leading: true,
  connected: true,
  ready: true,
  revision: { epoch: 7, revision: 9 },
  report: (report: NodeReport) => void reports.set(report.node, report),
};
const service = new PolicyService(compiler as unknown as Compiler, silentLogger);
const client = new RpcClient(socket);
const port = (number: string) =>
  parsed('cnp', 'p', {
    endpointSelector: {},
    egress: [{ toPorts: [{ ports: [{ port: number, protocol: 'TCP' }] }] }],
  });

function publish(revision: number): void {
  engine.compile();
  published.set({ at: { epoch: 7, revision }, state: engine.state() });
}

beforeAll(async () => {
  for (const id of [300, 301]) engine.upsertIdentity(id, podLabels('ns', { app: `a${id}` }));
  engine.upsertPolicy(port('80'));
  publish(1);
  await service.start(socket);
});

afterAll(async () => {
  client.close();
  await service.stop();
});

test('Validate tells problems with the line of the text', async () => {
  const text =
    'kind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: d}\nspec:\n  endpointSelector: {}\n  bad: 1\n';
  const { valid, objects } = await client.unary(Service, Service.methods.validate, { text });
  expect(valid).toBe(false);
  expect(objects).toMatchObject([{ name: 'p', problems: [{ path: 'spec.bad', line: 5 }, {}] }]);
});

test('Explain decides, and refuses what it cannot understand', async () => {
  const question = { source: { identity: 300 }, destination: { identity: 301 }, port: '81', protocol: 'TCP' };
  const explain = (more: object) =>
    client.unary(Service, Service.methods.explain, ExplainRequest.fromPartial({ ...question, ...more }));
  expect(await explain({})).toMatchObject({
    verdict: 'deny',
    directions: [
      { verdict: 'default-deny', isolatedBy: [{ name: 'p' }], nearestMiss: { text: 'port 81, rule has 80' } },
      {},
    ],
  });
  await expect(explain({ port: '' })).rejects.toMatchObject({ code: RPC_STATUS.INVALID_ARGUMENT });
});

test('Sync sends what is missing, then changes; a node that saw a newer epoch is refused', async () => {
  const ask = (more: object) => ({ node: 'node1', epoch: 0n, revision: 0n, ruleSets: [], ...more });
  const end = new AbortController();
  const stream = client.stream(Service, Service.methods.sync, ask({}), { signal: end.signal });
  stream.on('error', () => undefined);
  const messages = stream[Symbol.asyncIterator]() as AsyncIterator<SyncResponse>;
  const revision = async (): Promise<SyncResponse[]> => {
    const all: SyncResponse[] = [];
    do all.push((await messages.next()).value as SyncResponse);
    while (!all.at(-1)!.last);
    return all;
  };
  const first = await revision();
  expect(first[0]).toMatchObject({ epoch: 7n, revision: 1n, snapshot: true });
  const ids = first.flatMap(({ ruleSets }) =>
    ruleSets.map(({ id, document }) => (decodeRuleSet(document), id)),
  );
  expect(ids).toContain(engine.subject(300)!.ruleSet);
  engine.upsertPolicy(port('90'));
  engine.deleteIdentity(301);
  publish(2);
  const second = await revision();
  expect(second[0]).toMatchObject({ revision: 2n, snapshot: false });
  expect(second.flatMap(({ ruleSets }) => ruleSets.map(({ id }) => id))).toEqual([
    engine.subject(300)!.ruleSet,
  ]);
  expect(second.flatMap(({ removedSubjects }) => removedSubjects)).toEqual([301]);
  end.abort();
  const answer = async (more: object): Promise<SyncResponse> => {
    const stop = new AbortController();
    const other = client.stream(Service, Service.methods.sync, ask(more), { signal: stop.signal });
    try {
      for await (const message of other) return message as SyncResponse;
      throw new Error('nothing came');
    } finally {
      other.on('error', () => undefined);
      stop.abort();
    }
  };
  expect(await answer({ epoch: 7n, revision: 2n })).toMatchObject({
    snapshot: false,
    last: true,
    ruleSets: [],
  });
  const had = engine.state().ruleSets.map(({ id }) => id);
  expect(await answer({ ruleSets: had })).toMatchObject({ snapshot: true, ruleSets: [] });
  await expect(answer({ epoch: 8n })).rejects.toMatchObject({ code: RPC_STATUS.FAILED_PRECONDITION });
  published.set(undefined);
  await expect(answer({})).rejects.toMatchObject({ code: RPC_STATUS.UNAVAILABLE });
});

test('Report counts as an acknowledgement and shows in Status; one from the future is refused', async () => {
  const report = {
    node: 'node1',
    epoch: 7n,
    revision: 9n,
    error: '',
    entries: { abc: 3 },
    mapPressure: 0.25,
  };
  await client.unary(Service, Service.methods.report, report);
  expect(await client.unary(Service, Service.methods.status, {})).toMatchObject({
    leading: true,
    epoch: 7n,
    nodes: ['node1'],
    reports: [report],
  });
  const future = client.unary(Service, Service.methods.report, { ...report, revision: 10n });
  await expect(future).rejects.toThrow("newer than this compiler's epoch 7 revision 9");
});

test('health answers for the service', async () => {
  const { check } = HealthDefinition.methods;
  const { status } = await client.unary(HealthDefinition, check, { service: Service.fullName });
  expect(status).toBe(1);
});
