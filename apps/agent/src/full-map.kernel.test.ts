// SPDX-License-Identifier: Apache-2.0
// Tests a policy that does not fit its map: the one before stays in force, new pods are closed, and status, metrics and
// the endpoint say so, until a policy fits again. The whole agent as a process, with the smallest policy map.
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { EndpointModel, StatusModel } from '@cilium-ts/agent-api';
import { TestNode, until } from './test-node.ts';

jest.setTimeout(60_000);

interface CniResult {
  readonly ips: readonly { readonly address: string }[];
}
interface MetricModel {
  readonly name: string;
  readonly value: number;
}

const SERVED = 8080;
const OTHER = 8081;
let node: TestNode;
let server: string;

async function addPod(name: string, identity: number): Promise<string> {
  node.pod(name, identity);
  await node.addNamespace(name);
  const { code, stdout } = await node.cni('ADD', name);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  return (JSON.parse(stdout) as CniResult).ips[0]!.address.replace(/\/\d+$/, '');
}

const toServer = (port: number) => ({
  toEndpoints: [{ matchLabels: { app: 'b' } }],
  toPorts: [{ ports: [{ port: String(port), protocol: 'TCP' }] }],
});

/** Rules for 320 ports of a prefix: more entries than the smallest map has. */
const many = Array.from({ length: 8 }, (_, rule) => ({
  toCIDR: ['198.51.100.0/24'],
  toPorts: [
    {
      ports: Array.from({ length: 40 }, (_unused, port) => ({
        port: String(10_000 + 100 * rule + 2 * port),
        protocol: 'TCP',
      })),
    },
  ],
}));

const putPolicy = (egress: readonly object[]): unknown =>
  node.api.put('ciliumnetworkpolicies', {
    metadata: { name: 'egress', namespace: 'test' },
    spec: {
      endpointSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'c'] }] },
      egress,
    },
  });

async function endpointOf(pod: string): Promise<EndpointModel> {
  const all = await node.get<EndpointModel[]>('/endpoint');
  return all.find((one) => one.status['external-identifiers']['k8s-pod-name'] === pod)!;
}

async function metric(name: string): Promise<number | undefined> {
  return (await node.get<MetricModel[]>('/metrics')).find((one) => one.name === name)?.value;
}

const state = async () => (await node.get<StatusModel>('/healthz')).cilium;

beforeAll(async () => {
  node = new TestNode('f');
  await node.prepare();
  await node.start(['--bpf-policy-map-max=256']);
  await addPod('a', 1001);
  server = await addPod('b', 1002);
  for (const port of [SERVED, OTHER]) await node.echo('b', server, port);
  putPolicy([toServer(SERVED)]);
  await until('the policy is in force', async () => !(await node.reaches('a', server, OTHER)));
});

afterAll(() => node.cleanUp());

test('what was in force stays, and everybody is told', async () => {
  expect(await metric('cilium_policy_realization_failing')).toBe(0);
  putPolicy([toServer(OTHER), ...many]);
  const told = await until('the status tells it', async () => {
    const now = await state();
    return now.state === 'Warning' && now;
  });
  expect(told.msg).toMatch(/policy not realised: a rule set needs \d+ entries, bpf-policy-map-max is 256/);
  expect(await metric('cilium_policy_realization_failing')).toBe(1);
  expect(await metric('cilium_policy_import_errors_total')).toBeGreaterThan(0);
  expect((await endpointOf('a')).status.health.policy).toBe('Warning');
  expect(await node.reaches('a', server, SERVED)).toBe(true);
  expect(await node.reaches('a', server, OTHER)).toBe(false);
});

test('a pod that comes meanwhile gets nothing of either policy', async () => {
  await addPod('c', 1003);
  for (const port of [SERVED, OTHER]) expect(await node.reaches('c', server, port)).toBe(false);
});

test('a restart keeps what was in force, and the complaint', async () => {
  await node.kill('SIGTERM');
  await node.start(['--bpf-policy-map-max=256']);
  await until('the status tells it', async () => (await state()).msg.includes('bpf-policy-map-max'));
  expect(await node.reaches('a', server, SERVED)).toBe(true);
  expect(await node.reaches('a', server, OTHER)).toBe(false);
});

test('a policy that fits ends it', async () => {
  putPolicy([toServer(OTHER)]);
  await until('the new policy is in force', () => node.reaches('a', server, OTHER));
  expect(await node.reaches('a', server, SERVED)).toBe(false);
  await until('the pod that came meanwhile has it', () => node.reaches('c', server, OTHER));
  await until('the status is clean', async () => (await state()).state === 'Ok');
  expect(await metric('cilium_policy_realization_failing')).toBe(0);
});
