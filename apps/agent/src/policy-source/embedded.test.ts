// SPDX-License-Identifier: Apache-2.0
// Tested: without a policy-compiler the agents compile for themselves, and one of them writes the policies' status.
// How: the sources of two nodes against the sandbox's API server, a process.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { silentLogger } from '@cilium-ts/base';
import { KINDS, crdManifest, type Condition } from '@cilium-ts/crd';
import {
  CILIUM_NETWORK_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  KubeClient,
  loadKubeConfig,
} from '@cilium-ts/kube';
import type { PolicyPublication } from '@cilium-ts/policy';
import { EmbeddedPolicySource } from './embedded.ts';

const directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-embedded-`));
const nodes = ['node1', 'node2'];
const heard = new Map<string, PolicyPublication[]>(nodes.map((node) => [node, []]));
let api: ChildProcess;
let client: KubeClient;
let sources: EmbeddedPolicySource[];

beforeAll(async () => {
  const main = 'apps/sandbox/src/apiserver/main.ts';
  const args = ['--conditions=@cilium-ts/source', main, '--listen', '127.0.0.1:0', '--data-dir', directory];
  api = spawn('node_modules/.bin/node', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(api.stdout!, 'data');
  client = new KubeClient(await loadKubeConfig({ file: join(directory, 'kubeconfig') }));
  for (const kind of KINDS) await client.create(CUSTOM_RESOURCE_DEFINITIONS, crdManifest(kind) as never);
  sources = nodes.map(
    (node) =>
      new EmbeddedPolicySource({
        node,
        namespace: 'kube-system',
        client,
        engine: { cluster: 'default' },
        log: silentLogger,
      }),
  );
  for (const [index, source] of sources.entries()) {
    source.start((publication) => {
      heard.get(nodes[index]!)!.push(publication);
      source.acknowledge(publication.at);
    });
  }
}, 60_000);

afterAll(async () => {
  await Promise.all(sources.map((source) => source.stop()));
  client.close();
  api.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

async function conditions(name: string): Promise<Record<string, Condition>> {
  const object = (await client.get(CILIUM_NETWORK_POLICIES, { name, namespace: 'default' })) as {
    status?: { conditions?: Condition[] };
  };
  return Object.fromEntries((object.status?.conditions ?? []).map((one) => [one.type, one]));
}

async function poll<T>(read: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let i = 0; i < 2000; i++) {
    const value = await Promise.resolve(read());
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the condition never came true');
}

const create = (name: string, port: string): Promise<unknown> =>
  client.create(CILIUM_NETWORK_POLICIES, {
    metadata: { name, namespace: 'default' },
    spec: { endpointSelector: {}, egress: [{ toPorts: [{ ports: [{ port, protocol: 'TCP' }] }] }] },
  } as never);

test('every node compiles, one says in the status what became of each policy', async () => {
  await create('good', '80');
  await create('bad', '65536');
  for (const node of nodes) await poll(() => heard.get(node)!.length > 0);
  const enforced = await poll(async () => {
    const { Enforced } = await conditions('good');
    return Enforced?.status === 'True' ? Enforced : undefined;
  });
  expect(enforced.message).toMatch(/^revision \d+ acknowledged by 1\/1 nodes \(seen from node[12]\)$/);
  const { Valid: bad, Enforced: none } = await poll(async () => {
    const all = await conditions('bad');
    return all['Valid'] ? all : undefined;
  });
  expect(bad).toMatchObject({ status: 'False', reason: 'Invalid' });
  expect(bad!.message).toContain('spec.egress[0].toPorts[0].ports[0].port: "65536" is not a port');
  expect(none).toMatchObject({ status: 'False', reason: 'Invalid' });
});
