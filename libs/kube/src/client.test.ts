// SPDX-License-Identifier: Apache-2.0
// Tests requests, errors, kubeconfig loading and leader election.
// A real HTTP server records what arrives; kubeconfig files are written to a temporary directory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { KubeClient } from './client.ts';
import { inClusterConfig, loadKubeConfig, loadKubeConfigFile } from './config.ts';
import type { KubeError } from './errors.ts';
import { isAlreadyExists, isConflict, isNotFound, isUnreachable } from './errors.ts';
import { LeaderElector } from './leader-elector.ts';
import { CILIUM_IDENTITIES, PODS, resourcePath } from './resources.ts';
import { ScriptedServer, sendJson, sendStatus } from './testing.ts';
import { waitFor } from './wait.ts';
import type { Lease } from './wire.ts';

async function body(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text === '' ? undefined : JSON.parse(text);
}

describe('KubeClient', () => {
  let server: ScriptedServer;
  let client: KubeClient;
  let got: { url: string; method: string; type: string | undefined; body: unknown };

  beforeEach(async () => {
    server = await new ScriptedServer(async (url, request, response) => {
      const { method = '', headers } = request;
      got = {
        url: url.pathname + url.search,
        method,
        type: headers['content-type'],
        body: await body(request),
      };
      sendJson(response, { metadata: { name: 'x' } });
    }).start();
    client = server.client();
  });

  afterEach(async () => {
    client.close();
    await server.stop();
  });

  it('builds the paths of namespaced and cluster-wide objects', () => {
    expect(resourcePath(PODS, 'a', 'b', 'status')).toBe('/api/v1/namespaces/a/pods/b/status');
    expect(resourcePath(PODS)).toBe('/api/v1/pods');
    expect(resourcePath(CILIUM_IDENTITIES, undefined, '300')).toBe('/apis/cilium.io/v2/ciliumidentities/300');
  });

  it('creates with kind and apiVersion filled in', async () => {
    await client.create(PODS, { metadata: { generateName: 'p-', namespace: 'a' } });
    expect(got).toMatchObject({
      url: '/api/v1/namespaces/a/pods',
      method: 'POST',
      body: { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'p-' } },
    });
  });

  it('applies with its field manager and force', async () => {
    await client.apply(
      PODS,
      { metadata: { name: 'p', namespace: 'a' } },
      { fieldManager: 'me', force: true },
    );
    expect(got).toMatchObject({
      url: '/api/v1/namespaces/a/pods/p?fieldManager=me&force=true',
      method: 'PATCH',
      type: 'application/apply-patch+yaml',
    });
  });

  it('deletes with options only where there are any', async () => {
    await client.delete(PODS, { name: 'p', namespace: 'a' });
    expect(got.body).toBeUndefined();
    await client.delete(PODS, { name: 'p', namespace: 'a' }, { gracePeriodSeconds: 0 });
    expect(got.body).toMatchObject({ kind: 'DeleteOptions', gracePeriodSeconds: 0 });
  });

  it('turns a Status into an error with code, reason and message', async () => {
    const answers: [number, string][] = [
      [404, 'NotFound'],
      [409, 'AlreadyExists'],
      [409, 'Conflict'],
    ];
    server.handler = (_url, _request, response) =>
      sendStatus(response, ...answers.shift()!, 'pods "p" and so on');
    const failures: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      await client.get(PODS, { name: 'p', namespace: 'a' }).catch((error: unknown) => failures.push(error));
    }
    expect([isNotFound(failures[0]), isAlreadyExists(failures[1]), isConflict(failures[2])]).toEqual([
      true,
      true,
      true,
    ]);
    expect(isConflict(failures[1])).toBe(false);
    expect((failures[0] as KubeError).message).toContain('pods "p" and so on');
  });

  it('reports a missing server and a non-JSON answer as unreachable or by status', async () => {
    server.handler = (_url, _request, response) => {
      response.writeHead(502);
      response.end('bad gateway');
    };
    await expect(client.get(PODS, { name: 'p' })).rejects.toMatchObject({
      code: 502,
      message: /bad gateway/,
    });
    await server.stop();
    const error = await client.get(PODS, { name: 'p' }).catch((failure: unknown) => failure);
    expect(isUnreachable(error)).toBe(true);
    await server.start();
  });

  it('waits and asks again when throttled', async () => {
    let calls = 0;
    server.handler = (_url, _request, response) => {
      if (++calls > 1) return sendJson(response, { metadata: { name: 'p' } });
      response.setHeader('retry-after', '0');
      sendStatus(response, 429, 'TooManyRequests');
    };
    await client.get(PODS, { name: 'p', namespace: 'a' });
    expect(calls).toBe(2);
  });

  it('sends again over a fresh connection when a kept one was closed', async () => {
    await client.get(PODS, { name: 'p', namespace: 'a' });
    server.dropConnections();
    await expect(client.get(PODS, { name: 'p', namespace: 'a' })).resolves.toBeDefined();
  });
});

describe('kubeconfig', () => {
  let directory: string;
  const write = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ctst-kube-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('reads certificates as data and from files beside it', async () => {
    write('ca.pem', 'CA');
    const data = Buffer.from('CERT').toString('base64');
    const path = write(
      'config',
      `current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]\n` +
        `clusters: [{name: k, cluster: {server: "https://h:6443/", certificate-authority: ca.pem, tls-server-name: s}}]\n` +
        `users: [{name: u, user: {client-certificate-data: ${data}, client-key-data: ${data}, token: t}}]\n`,
    );
    const config = await loadKubeConfig({ file: path });
    expect(config).toMatchObject({
      server: 'https://h:6443',
      ca: 'CA',
      clientCert: 'CERT',
      serverName: 's',
      namespace: 'n',
    });
    expect(config.authorization()).toBe('Bearer t');
  });

  it('names the file and the missing entry', async () => {
    const path = write('config', 'current-context: c\ncontexts: []\n');
    await expect(loadKubeConfigFile(path)).rejects.toThrow(`${path}: contexts has no entry named "c"`);
    await expect(loadKubeConfigFile(join(directory, 'none'))).rejects.toThrow(/none: .*ENOENT/);
    await expect(loadKubeConfigFile(write('bad', 'a: [b'))).rejects.toThrow(/not a kubeconfig/);
  });

  it('takes address, CA and token of a pod', () => {
    write('token', 'abc\n');
    write('ca.crt', 'CA');
    const config = inClusterConfig(
      { KUBERNETES_SERVICE_HOST: 'fd00:10:96::1', KUBERNETES_SERVICE_PORT: '443' },
      directory,
    );
    expect(config.server).toBe('https://[fd00:10:96::1]:443');
    expect(config.authorization()).toBe('Bearer abc');
  });
});

describe('LeaderElector', () => {
  it('lets one lead, and the other take over when the first stops', async () => {
    let lease: Lease | undefined;
    let version = 0;
    const server = await new ScriptedServer(async (_url, request, response) => {
      const sent = (await body(request)) as Lease | undefined;
      if (request.method === 'GET') {
        return lease ? sendJson(response, lease) : sendStatus(response, 404, 'NotFound');
      }
      if (request.method === 'POST' && lease) return sendStatus(response, 409, 'AlreadyExists');
      if (request.method === 'PUT' && sent?.metadata.resourceVersion !== lease?.metadata.resourceVersion) {
        return sendStatus(response, 409, 'Conflict');
      }
      lease = { ...sent!, metadata: { ...sent!.metadata, resourceVersion: String(++version) } };
      sendJson(response, lease);
    }).start();
    const log: string[] = [];
    const elector = (identity: string): LeaderElector =>
      new LeaderElector({
        client: server.client(),
        namespace: 'kube-system',
        name: 'test',
        identity,
        retryMs: 5,
        onStarted: () => log.push(`${identity} leads`),
        onStopped: () => log.push(`${identity} stops`),
      }).start();
    const first = elector('a');
    await waitFor('the first leader', () => first.isLeader, { intervalMs: 2 });
    const second = elector('b');
    await first.stop();
    await waitFor('the second leader', () => second.isLeader, { intervalMs: 2 });
    await second.stop();
    expect(log).toEqual(['a leads', 'a stops', 'b leads', 'b stops']);
    await server.stop();
  });
});
