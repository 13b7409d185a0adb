// SPDX-License-Identifier: Apache-2.0
// Tested: object in, rule sets out, acknowledgements back into the status, faults. How: the real compiler against the
// sandbox's API server and a real nats-server, each a process.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { silentLogger, systemClock } from '@cilium-ts/base';
import { Bucket, BusConnection } from '@cilium-ts/bus';
import { KINDS, crdManifest, type Condition } from '@cilium-ts/crd';
import { labelsFromMap } from '@cilium-ts/identity';
import {
  CILIUM_IDENTITIES,
  CILIUM_NETWORK_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  KubeClient,
  NODES,
  loadKubeConfig,
} from '@cilium-ts/kube';
import {
  ACK_BUCKET,
  AUDIT_ANNOTATION,
  HEAD_KEY,
  POLICY_BUCKET,
  MapState,
  SelectorCache,
  decodeRuleSet,
  subjectKey,
  type Head,
  type Subject,
} from '@cilium-ts/policy';
import { Compiler } from './compiler.ts';

const directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-compiler-`));
let api: ChildProcess;
let nats: ChildProcess;
let natsPort = 0;
let client: KubeClient;
let compiler: Compiler;
let bus: BusConnection;
let policy: Bucket | undefined;
let acks: Bucket | undefined;

const identity = (name: string, app: string) => ({
  metadata: { name },
  'security-labels': {
    'k8s:app': app,
    'k8s:io.kubernetes.pod.namespace': 'default',
    'k8s:io.cilium.k8s.policy.cluster': 'default',
  },
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function startNats(): void {
  nats = spawn(
    'nats-server',
    ['-a', '127.0.0.1', '-p', String(natsPort), '-js', '-sd', join(directory, 'nats')],
    {
      stdio: 'ignore',
    },
  );
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function poll<T>(read: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let i = 0; i < 1500; i++) {
    const value = await Promise.resolve(read()).catch(() => undefined);
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the condition never came true');
}

function newCompiler(): Compiler {
  return new Compiler({
    client,
    clock: systemClock,
    log: silentLogger,
    name: 'test',
    engine: { cluster: 'default' },
    natsService: 'kube-system/cilium-nats',
    natsUrl: `127.0.0.1:${natsPort}`,
  });
}

beforeAll(async () => {
  const main = 'apps/sandbox/src/apiserver/main.ts';
  const args = ['--conditions=@cilium-ts/source', main, '--listen', '127.0.0.1:0', '--data-dir', directory];
  api = spawn('node_modules/.bin/node', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(api.stdout!, 'data');
  natsPort = await freePort();
  startNats();
  client = new KubeClient(await loadKubeConfig({ file: join(directory, 'kubeconfig') }));
  for (const kind of KINDS) await client.create(CUSTOM_RESOURCE_DEFINITIONS, crdManifest(kind) as never);
  for (const name of ['node1', 'node2']) await client.create(NODES, { metadata: { name } } as never);
  await client.create(NODES, {
    metadata: { name: 'out', labels: { 'cilium.io/no-schedule': 'true' } },
  } as never);
  await client.create(CILIUM_IDENTITIES, identity('300', 'frontend') as never);
  await client.create(CILIUM_IDENTITIES, identity('301', 'backend') as never);
  bus = new BusConnection({
    name: 'test',
    addresses: () => [`127.0.0.1:${natsPort}`],
    onSession: async (session) => {
      policy = await Bucket.open(session, POLICY_BUCKET);
      acks = await Bucket.open(session, ACK_BUCKET);
    },
    onLost: () => (policy = acks = undefined),
  }).start();
  compiler = newCompiler();
  compiler.setLeading(true);
  await compiler.start();
}, 60_000);

afterAll(async () => {
  await compiler.stop();
  await bus.stop();
  client.close();
  for (const child of [nats, api]) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const spec = (port: string): unknown => ({
  endpointSelector: { matchLabels: { app: 'frontend' } },
  egress: [
    { toEndpoints: [{ matchLabels: { app: 'backend' } }], toPorts: [{ ports: [{ port, protocol: 'TCP' }] }] },
  ],
});
const target = { name: 'p', namespace: 'default' };

async function verdict(port: number): Promise<string | undefined> {
  const subject = JSON.parse((await policy!.get(subjectKey((await head()).epoch, 300)))!.value!) as Subject;
  const ruleSet = decodeRuleSet((await policy!.get(`ruleset.${subject.ruleSet}`))!.value!);
  const identities = new SelectorCache();
  identities.update(301, labelsFromMap(identity('301', 'backend')['security-labels']));
  const state = new MapState(ruleSet, (selector) => identities.select(selector));
  return state.lookup({ direction: 'egress', identity: 301, protocol: 6, port })?.verdict ?? 'miss';
}

async function conditions(): Promise<Record<string, Condition>> {
  const object = (await client.get(CILIUM_NETWORK_POLICIES, target)) as {
    status?: { conditions?: Condition[] };
  };
  return Object.fromEntries(
    (object.status?.conditions ?? []).map((condition) => [condition.type, condition]),
  );
}

async function head(): Promise<Head> {
  return JSON.parse((await policy!.get(HEAD_KEY))!.value!) as Head;
}

async function acknowledge(...nodes: string[]): Promise<void> {
  const { epoch, revision } = await head();
  for (const node of nodes) await acks!.put(node, JSON.stringify({ node, epoch, revision }));
}

describe('the compiler', () => {
  test('publishes what an object asks for and writes its progress into the status', async () => {
    await poll(async () => (await verdict(1)) === 'allow');
    await client.create(CILIUM_NETWORK_POLICIES, { metadata: target, spec: spec('8080') } as never);
    await poll(async () => (await verdict(1)) === 'miss' && (await verdict(8080)) === 'allow');
    await poll(async () => (await conditions())['Enforced']?.message?.endsWith('0/2 nodes'));
    await acknowledge('node1', 'node2', 'out');
    await poll(async () => (await conditions())['Enforced']?.status === 'True');
    expect((await conditions())['Enforced']!.message).toMatch(/^revision \d+ acknowledged by 2\/2 nodes$/);
    expect((await conditions())['Valid']).toMatchObject({ status: 'True' });
  });

  test('rules that no proxy could carry out together are told at the later policy', async () => {
    const rule = (rules: unknown): unknown => ({
      endpointSelector: { matchLabels: { app: 'frontend' } },
      egress: [{ toPorts: [{ ports: [{ port: '9092', protocol: 'TCP' }], rules }] }],
    });
    const create = (name: string, rules: unknown): Promise<unknown> =>
      client.create(CILIUM_NETWORK_POLICIES, {
        metadata: { name, namespace: 'default' },
        spec: rule(rules),
      } as never);
    await create('l7-a', { http: [{ method: 'GET' }] });
    await create('l7-b', { kafka: [{ topic: 't' }] });
    const message = await poll(async () => {
      const object = (await client.get(CILIUM_NETWORK_POLICIES, { name: 'l7-b', namespace: 'default' })) as {
        status?: { conditions?: Condition[] };
      };
      return object.status?.conditions?.find(({ reason }) => reason === 'Conflict')?.message;
    });
    expect(message).toContain('spec.egress[0].toPorts[0]');
    expect(message).toContain('CNP default/l7-a');
    for (const name of ['l7-a', 'l7-b'])
      await client.delete(CILIUM_NETWORK_POLICIES, { name, namespace: 'default' });
  });

  test('the audit annotation takes effect on a policy that is there, and ends with it', async () => {
    const annotate = (value: string | null): Promise<unknown> =>
      client.patch(CILIUM_NETWORK_POLICIES, target, 'merge', {
        metadata: { annotations: { [AUDIT_ANNOTATION]: value } },
      });
    expect(await verdict(9999)).toBe('miss');
    await annotate('true');
    await poll(async () => ((await verdict(9999)) === 'audit' ? true : undefined));
    await annotate(null);
    await poll(async () => ((await verdict(9999)) === 'miss' ? true : undefined));
  });

  test('an invalid update says where it is wrong; the previous version stays, also after a restart', async () => {
    await client.patch(CILIUM_NETWORK_POLICIES, target, 'merge', { spec: spec('65536') });
    const valid = await poll(async () => {
      const condition = (await conditions())['Valid'];
      return condition?.status === 'False' ? condition : undefined;
    });
    expect(valid.message).toContain('spec.egress[0].toPorts[0].ports[0].port: "65536" is not a port');
    expect(await verdict(8080)).toBe('allow');
    await compiler.stop();
    compiler = newCompiler();
    compiler.setLeading(true);
    await compiler.start();
    const before = await head();
    await client.create(CILIUM_IDENTITIES, {
      metadata: { name: '302' },
      'security-labels': { 'k8s:app': 'x' },
    } as never);
    await poll(async () => (await head()).revision > before.revision);
    expect(await verdict(8080)).toBe('allow');
    expect(await verdict(8081)).toBe('miss');
  });

  test('a bus that was killed and lost its data is filled again, with a newer revision', async () => {
    await client.patch(CILIUM_NETWORK_POLICIES, target, 'merge', { spec: spec('9090') });
    await poll(async () => (await verdict(9090)) === 'allow');
    const before = await head();
    await kill(nats);
    rmSync(join(directory, 'nats'), { recursive: true, force: true });
    startNats();
    await poll(async () => policy !== undefined && (await verdict(9090)) === 'allow');
    const after = await poll(head);
    expect(after.epoch).toBe(before.epoch);
    expect(after.revision).toBeGreaterThan(before.revision);
  });

  test('a deleted object isolates nobody any more', async () => {
    await client.delete(CILIUM_NETWORK_POLICIES, target);
    await poll(async () => (await verdict(1)) === 'allow');
  });
});
