// SPDX-License-Identifier: Apache-2.0
// What tests of controllers run on: the embedded API server as a process, the controllers against it, and kubelets that
// start and end pods in name only.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lifecycle, silentLogger, type Stoppable } from '@cilium-ts/base';
import {
  KubeClient,
  NAMESPACES,
  NODES,
  PODS,
  Reflector,
  isConflict,
  isNotFound,
  loadKubeConfigFile,
  type Node,
  type Pod,
} from '@cilium-ts/kube';

export interface TestCluster extends Stoppable {
  readonly client: KubeClient;
  readonly kubeconfig: string;
}

/** Starts the embedded API server on a free port with an empty store. */
export async function startApi(): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-api-`));
  const args = ['--conditions=@cilium-ts/source', 'apps/sandbox/src/apiserver/main.ts'];
  const node = join(process.cwd(), 'node_modules/.bin/node');
  const child = spawn(node, [...args, '--listen', '127.0.0.1:0', '--data-dir', directory], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await announced(child);
  const kubeconfig = join(directory, 'kubeconfig');
  const client = new KubeClient(await loadKubeConfigFile(kubeconfig));
  return {
    client,
    kubeconfig,
    async stop() {
      client.close();
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null) {
        child.kill('SIGKILL');
        await ended;
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function announced(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    let errors = '';
    child.stderr!.on('data', (chunk) => (errors += String(chunk)));
    child.stdout!.on('data', (chunk) => {
      text += String(chunk);
      if (text.includes('"port"')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`API server ended with ${code}: ${errors}`)));
  });
}

export async function createNode(client: KubeClient, name: string, more: Partial<Node> = {}): Promise<void> {
  await client.create(NODES, {
    ...more,
    metadata: {
      name,
      ...more.metadata,
      labels: { 'kubernetes.io/hostname': name, ...more.metadata?.labels },
    },
  });
  const conditions = [{ type: 'Ready', status: 'True' }];
  const status = { conditions, addresses: [{ type: 'InternalIP', address: '192.168.77.1' }] };
  await client.patch(NODES, { name }, 'merge', { status }, { subresource: 'status' });
}

export async function createNamespace(client: KubeClient, name: string): Promise<void> {
  await client.create(NAMESPACES, { metadata: { name } });
}

/** Annotation of pods that a test wants to stay unready (`never`), or to end with `Succeeded` or `Failed`. */
export const PLAY = 'test/play';

/** Marks every pod that has a node as running and ready, and lets deleted ones go. */
export function startFakeKubelets(client: KubeClient): Stoppable {
  const parts = new Lifecycle();
  let address = 1;
  const play = async (pod: Pod): Promise<void> => {
    if (!pod.spec?.nodeName) return;
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(PODS, pod.metadata, { gracePeriodSeconds: 0 });
      return;
    }
    const phase = pod.metadata.annotations?.[PLAY] ?? 'Running';
    const ready = phase === 'Running' ? 'True' : 'False';
    const now = new Date().toISOString();
    const wanted = phase === 'never' ? 'Running' : phase;
    if (pod.status?.phase === wanted) return;
    const ip = `10.244.${address >> 8}.${address++ & 0xff}`;
    const status = {
      phase: wanted,
      podIP: ip,
      podIPs: [{ ip }, { ip: `fd00::${address.toString(16)}` }],
      hostIP: '192.168.77.1',
      conditions: [{ type: 'Ready', status: ready, lastTransitionTime: now }],
    };
    await client.patch(PODS, pod.metadata, 'merge', { status }, { subresource: 'status' });
  };
  const follow = (pod: Pod): void => {
    play(pod).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) console.error('fake kubelet', error);
    });
  };
  const reflector = new Reflector({ client, resource: PODS, log: silentLogger });
  reflector.subscribe({ onAdd: follow, onUpdate: (_old, pod) => follow(pod) });
  parts.add(reflector.start());
  return parts;
}
