// SPDX-License-Identifier: Apache-2.0
// Tests policy audit mode, of one endpoint and of the node: what policy would drop passes and is told as audited.
// The whole agent as a process; verdicts come from its monitor stream.
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { EndpointModel } from '@cilium-ts/agent-api';
import { TestNode, until } from './test-node.ts';

jest.setTimeout(60_000);

const PORT = 8080;
let node: TestNode;
let server: string;
let events = '';
let stream: IncomingMessage | undefined;

const socketPath = (): string => join(node.directory, 'run/cilium.sock');

async function addPod(name: string, identity: number): Promise<string> {
  node.pod(name, identity);
  await node.addNamespace(name);
  const { code, stdout } = await node.cni('ADD', name);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return ips[0]!.address.replace(/\/\d+$/, '');
}

async function endpointOf(pod: string): Promise<EndpointModel> {
  const all = await node.get<EndpointModel[]>('/endpoint');
  return all.find((one) => one.status['external-identifiers']['k8s-pod-name'] === pod)!;
}

function configure(id: number, options: object): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const path = `/v1/endpoint/${id}/config`;
    const call = request({ socketPath: socketPath(), method: 'PATCH', path, headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(JSON.stringify({ options }));
  });
}

async function listen(): Promise<void> {
  events = '';
  stream = await new Promise<IncomingMessage>((resolve, reject) => {
    const call = request({ socketPath: socketPath(), path: '/v1/monitor?type=policy-verdict' }, resolve);
    call.on('error', reject);
    call.end();
  });
  stream.on('data', (chunk: Buffer) => (events += chunk.toString()));
  stream.on('error', () => undefined);
}

const verdicts = (): string[] =>
  events
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => (JSON.parse(line) as { verdict: string }).verdict);

beforeAll(async () => {
  node = new TestNode('u');
  await node.prepare();
  await node.start();
  await addPod('a', 1001);
  server = await addPod('b', 1002);
  await node.echo('b', server, PORT);
  node.api.put('ciliumnetworkpolicies', {
    metadata: { name: 'nothing', namespace: 'test' },
    spec: { endpointSelector: { matchLabels: { app: 'a' } }, egress: [{}], egressDeny: [] },
  });
  await until('the policy is in force', async () => !(await node.reaches('a', server, PORT)));
});

afterAll(async () => {
  stream?.destroy();
  await node.cleanUp();
});

test('an endpoint in audit mode passes what its policy would drop, and the verdict says so', async () => {
  const { id } = await endpointOf('a');
  await listen();
  expect((await configure(id, { PolicyAuditMode: 'Enabled' })).status).toBe(200);
  expect(await node.reaches('a', server, PORT)).toBe(true);
  await until('the verdict', () => verdicts().includes('audited'));
  const model = await endpointOf('a');
  expect(model.spec.options).toMatchObject({ PolicyAuditMode: 'Enabled' });
  expect(model.status.policy.realized['policy-enabled']).toBe('audit-egress');
  expect((await endpointOf('b')).spec.options).toMatchObject({ PolicyAuditMode: 'Disabled' });
});

test('a restart keeps the mode, and switching it off drops again', async () => {
  stream?.destroy();
  await node.kill('SIGTERM');
  await node.start();
  expect(await node.reaches('a', server, PORT)).toBe(true);
  const { id, spec } = await endpointOf('a');
  expect(spec.options).toMatchObject({ PolicyAuditMode: 'Enabled' });
  expect((await configure(id, { PolicyAuditMode: 'Disabled' })).status).toBe(200);
  expect(await node.reaches('a', server, PORT)).toBe(false);
});

test('options and values that there are not are refused by name', async () => {
  const { id } = await endpointOf('a');
  const option = await configure(id, { Debug: 'Enabled' });
  expect(option).toMatchObject({ status: 400 });
  expect(option.text).toContain('only PolicyAuditMode can');
  const value = await configure(id, { PolicyAuditMode: 'maybe' });
  expect(value).toMatchObject({ status: 400 });
  expect(value.text).toContain('allowed: Enabled, Disabled');
  expect(await node.reaches('a', server, PORT)).toBe(false);
});

test('policy-audit-mode does it for the whole node', async () => {
  await node.kill('SIGTERM');
  await node.start(['--policy-audit-mode=true']);
  await listen();
  expect(await node.reaches('a', server, PORT)).toBe(true);
  await until('the verdict', () => verdicts().includes('audited'));
  stream?.destroy();
  await node.kill('SIGTERM');
  await node.start();
  await until('policy drops again', async () => !(await node.reaches('a', server, PORT)));
});
