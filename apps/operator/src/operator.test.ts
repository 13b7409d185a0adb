// SPDX-License-Identifier: Apache-2.0
// Tested: identity allocation and its cleaning. How: the real operator against the sandbox's API server as a process.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { silentLogger, systemClock, type Stoppable } from '@cilium-ts/base';
import { crdManifest, KINDS } from '@cilium-ts/crd';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  KubeClient,
  loadKubeConfig,
  NAMESPACES,
  PODS,
  Reflector,
  waitFor,
} from '@cilium-ts/kube';
import { DEFAULT_LABEL_FILTER } from '@cilium-ts/identity';
import { ENDPOINTS, GarbageCollector } from './garbage.ts';
import { IdentityAllocator, IDENTITIES } from './identity-allocator.ts';
import { operatorConfig } from './operator-config.ts';

const directory = mkdtempSync(join(tmpdir(), 'operator-test-'));
let api: ChildProcess;
let client: KubeClient;
const parts: Stoppable[] = [];

beforeAll(async () => {
  const main = 'apps/sandbox/src/apiserver/main.ts';
  const args = ['--conditions=@cilium-ts/source', main, '--listen', '127.0.0.1:0', '--data-dir', directory];
  api = spawn('node_modules/.bin/node', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(api.stdout!, 'data');
  client = new KubeClient(await loadKubeConfig({ file: join(directory, 'kubeconfig') }));
  for (const kind of KINDS) await client.create(CUSTOM_RESOURCE_DEFINITIONS, crdManifest(kind) as never);
}, 30_000);

afterAll(async () => {
  for (const part of parts.reverse()) await part.stop();
  client.close();
  api.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const pod = (name: string, labels: Record<string, string>): never =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { containers: [{ name: 'c', image: 'x' }] },
  }) as never;

describe('operator', () => {
  test('pods with equal labels share one identity, unused ones go', async () => {
    const reflectors = {
      pods: new Reflector({ client, resource: PODS }),
      namespaces: new Reflector({ client, resource: NAMESPACES }),
      identities: new Reflector({ client, resource: IDENTITIES }),
      endpoints: new Reflector({ client, resource: ENDPOINTS }),
    };
    for (const reflector of Object.values(reflectors)) parts.push(reflector.start());
    const log = silentLogger;
    const allocator = new IdentityAllocator({
      client,
      ...reflectors,
      cluster: 'default',
      filter: DEFAULT_LABEL_FILTER,
      log,
    });
    parts.push(allocator.start());
    for (const [name, app] of [
      ['a-1', 'a'],
      ['a-2', 'a'],
      ['b-1', 'b'],
    ] as const) {
      await client.create(PODS, pod(name, { app, 'pod-template-hash': name }));
    }
    const names = (): string[] =>
      reflectors.identities.store
        .list()
        .map((identity) => identity.metadata.name)
        .sort();
    await waitFor('two identities', () => names().length === 2, { timeoutMs: 10_000 });
    expect(names()).toEqual(['256', '257']);

    await client.delete(PODS, { name: 'b-1', namespace: 'default' }, { gracePeriodSeconds: 0 });
    await waitFor('the pod to go', () => reflectors.pods.store.list().length === 2, { timeoutMs: 10_000 });
    const garbage = new GarbageCollector({
      client,
      allocator,
      ...reflectors,
      intervalMs: 3_600_000,
      unusedMs: 0,
      clock: systemClock,
      log,
    });
    await garbage.collect();
    await waitFor('one identity', () => names().length === 1, { timeoutMs: 10_000 });
    const [left] = reflectors.identities.store.list();
    expect(left!['security-labels']['k8s:app']).toBe('a');
    expect(Object.keys(left!['security-labels'])).not.toContain('k8s:pod-template-hash');
  }, 30_000);

  test.each(['15', '1x', ''])('a bad duration %p is refused by key', (text) => {
    expect(() => operatorConfig([`--identity-gc-interval=${text}`], {})).toThrow(/identity-gc-interval/);
  });
});
