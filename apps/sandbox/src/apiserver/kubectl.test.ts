// SPDX-License-Identifier: Apache-2.0
// The embedded API server as the real kubectl sees it: a server in this process, kubectl as a child for each call,
// and a small kubelet that terminates exec, logs and port-forward with the sandbox's own stream codecs.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { servePortForward } from '../streams/port-forward.ts';
import { acceptRemoteCommand } from '../streams/remote-command.ts';
import { loadCredentials, writeKubeconfig } from './credentials.ts';
import { ApiServer } from './server.ts';

const present = spawnSync('kubectl', ['version', '--client']).status === 0;
if (!present) console.warn('kubectl is not on PATH: the tests with the real client are skipped');
const withKubectl = present ? describe : describe.skip;

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let directory: string;
let server: ApiServer;
let kubelet: Server;

function kubectl(args: readonly string[], input = ''): Promise<Answer> {
  return new Promise((resolve) => {
    const options = {
      env: { ...process.env, KUBECONFIG: join(directory, 'kubeconfig'), HOME: directory },
      timeout: 20_000,
    };
    const child = execFile('kubectl', [...args], options, (error, out, err) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, out, err }),
    );
    child.stdin?.end(input);
  });
}

async function ok(line: string, input = ''): Promise<string> {
  const answer = await kubectl(line.split(' '), input);
  if (answer.code !== 0) throw new Error(`kubectl ${line}: ${answer.err}`);
  return answer.out;
}

/** Runs the command of `exec` on this machine; streams as a kubelet does. */
async function runExec(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const command = await acceptRemoteCommand(request, socket, head);
  if (!command) return;
  const [program, ...args] = new URL(request.url ?? '', 'http://kubelet').searchParams.getAll('command');
  const child = spawn(program!, args);
  command.stdin.pipe(child.stdin);
  child.stdout.pipe(command.stdout, { end: false });
  child.stderr.pipe(command.stderr, { end: false });
  child.on('close', (code) => void command.finish({ kind: 'exit', code: code ?? 1 }));
  child.on('error', (error) => void command.finish({ kind: 'failed', message: error.message }));
}

function startKubelet(path: string): Promise<Server> {
  const answer = (request: IncomingMessage, response: ServerResponse): void =>
    void response.end(`log of ${request.url}\n`);
  const http = createServer(answer);
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.url?.startsWith('/portForward/'))
      servePortForward(request, socket, head, (port) => {
        const target = connect(port, '127.0.0.1');
        return new Promise((resolve, reject) => {
          target.once('connect', () => resolve(target));
          target.once('error', reject);
        });
      });
    else void runExec(request, socket, head);
  });
  return new Promise((resolve) => http.listen(path, () => resolve(http)));
}

const CRD = JSON.stringify({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'things.example.io' },
  spec: {
    group: 'example.io',
    scope: 'Namespaced',
    names: { kind: 'Thing', plural: 'things', shortNames: ['th'] },
    versions: ['v2', 'v2alpha1'].map((name) => ({
      name,
      served: true,
      storage: name === 'v2',
      subresources: { status: {} },
      additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.size' }],
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: {
              type: 'object',
              required: ['size'],
              properties: {
                size: { type: 'integer', minimum: 1 },
                mode: { type: 'string', default: 'plain' },
              },
            },
            status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      },
    })),
  },
});

const thing = (spec: object): string =>
  JSON.stringify({ apiVersion: 'example.io/v2', kind: 'Thing', metadata: { name: 't' }, spec });

withKubectl('kubectl', () => {
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-api-`));
    const credentials = loadCredentials(directory, ['127.0.0.1', 'localhost']);
    server = new ApiServer({
      credentials,
      advertiseAddress: '192.168.77.254',
      advertisePort: 6443,
      serviceAddress: '10.96.0.1',
      report: (error) => console.error(error),
    });
    const port = await server.listen('127.0.0.1', 0);
    writeKubeconfig(join(directory, 'kubeconfig'), `https://127.0.0.1:${port}`, credentials);
    kubelet = await startKubelet(join(directory, 'kubelet.sock'));
  });
  afterAll(async () => {
    await server.close();
    kubelet.closeAllConnections();
    kubelet.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('creates typed kinds from protobuf bodies and shows them in tables', async () => {
    await ok('create namespace typed');
    await ok('create deployment web --image=web:1 --replicas=2 -n typed');
    await ok('create configmap settings --from-literal=a=b -n typed');
    await ok('create secret generic secret --from-literal=p=q -n typed');
    await ok('create job once --image=x -n typed -- sleep 1');
    await ok('create role reader --verb=get --resource=pods -n typed');
    await ok('create service clusterip web --tcp=80:8080 -n typed');
    expect(
      await ok(
        'get deploy web -n typed -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}',
      ),
    ).toBe('2/web:1');
    expect(await ok('get secret secret -n typed -o jsonpath={.data.p}')).toBe('cQ==');
    expect(await ok('get svc web -n typed')).toMatch(
      /NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE\nweb +ClusterIP +10\.96\./,
    );
    const all = await ok('get all -n typed');
    for (const name of ['service/web', 'deployment.apps/web', 'job.batch/once']) expect(all).toContain(name);
  });

  test('scales, patches in three forms and keeps list items by key', async () => {
    await ok('create namespace patched');
    await ok('create deployment web --image=web:1 -n patched');
    await ok('scale deployment web --replicas=0 -n patched');
    await ok(
      `patch deployment web -n patched -p {"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}`,
    );
    await ok(
      'patch deployment web -n patched --type=json -p [{"op":"add","path":"/metadata/labels/x","value":"y"}]',
    );
    await ok('patch deployment web -n patched --type=merge -p {"spec":{"paused":true}}');
    const paths =
      '{.spec.replicas}{.spec.template.spec.containers[0].image}{.spec.template.spec.containers[0].env[0].name}{.metadata.labels.x}{.spec.paused}';
    expect(await ok(`get deploy web -n patched -o jsonpath=${paths}`)).toBe('0web:1Aytrue');
  });

  test('applies client-side and server-side, tells changed from unchanged and reports conflicts', async () => {
    const service = (port: number): string =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'dual', namespace: 'default' },
        spec: {
          ipFamilyPolicy: 'PreferDualStack',
          selector: { a: 'b' },
          ports: [{ name: 'x', port, targetPort: port }],
        },
      });
    expect(await ok('apply --server-side -f -', service(80))).toContain('serverside-applied');
    const before = await ok('get svc dual -o jsonpath={.metadata.resourceVersion}');
    await ok('apply --server-side -f -', service(80));
    expect(await ok('get svc dual -o jsonpath={.metadata.resourceVersion}')).toBe(before);
    expect(await ok('get svc dual -o jsonpath={.spec.clusterIPs[1]}')).toMatch(/^fd00:10:96::/);
    await ok('apply --server-side -f -', service(81));
    expect(await ok('get svc dual -o jsonpath={.spec.ports[*].port}')).toBe('81');
    const other = await kubectl(
      ['apply', '--server-side', '--field-manager=other', '-f', '-'],
      service(81).replace('"a":"b"', '"a":"c"'),
    );
    expect(other.err).toContain('conflict with "kubectl"');
    const config = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c' },
      data: { a: '1' },
    });
    expect(await ok('apply -f -', config)).toContain('created');
    expect(await ok('apply -f -', config)).toContain('unchanged');
    expect((await kubectl(['diff', '-f', '-'], config.replace('"1"', '"2"'))).code).toBe(1);
  });

  test('serves custom resources at once, with defaults, checks, versions and status', async () => {
    await ok('apply -f -', CRD);
    await ok('wait --for=condition=Established crd/things.example.io --timeout=10s');
    await ok('apply -f -', thing({ size: 3 }));
    expect(await ok('get th')).toMatch(/NAME +SIZE\nt +3/);
    expect(await ok('get things.v2alpha1.example.io t -o jsonpath={.apiVersion}{.spec.mode}')).toBe(
      'example.io/v2alpha1plain',
    );
    expect((await kubectl(['apply', '-f', '-'], thing({ size: 0 }))).err).toContain(
      'spec.size: Invalid value: 0',
    );
    expect((await kubectl(['apply', '-f', '-'], thing({ size: 1, zzz: 1 }))).err).toContain(
      'unknown field "spec.zzz"',
    );
    await ok('patch th t --subresource=status --type=merge -p {"status":{"ready":true}}');
    expect(await ok('get th t -o jsonpath={.status.ready}')).toBe('true');
    await ok('delete crd things.example.io');
    expect((await kubectl(['get', 'th'])).code).toBe(1);
  });

  test('refuses what it cannot do with a Status that kubectl prints', async () => {
    expect((await kubectl(['create', 'cronjob', 'c', '--image=x', '--schedule=* * * * *'])).err).toContain(
      'could not find the requested resource',
    );
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'bad' },
      spec: { containers: [{ name: 'A_b', image: 'x' }] },
    };
    expect((await kubectl(['apply', '-f', '-'], JSON.stringify(pod))).err).toContain(
      'spec.containers[0].name',
    );
    expect((await kubectl(['get', 'pod', 'none'])).err).toContain('pods "none" not found');
    expect(await ok('auth can-i create pods')).toBe('yes\n');
    expect(await ok('explain pod.spec.containers.env')).toContain('FIELD: env <[]EnvVar>');
  });

  test('names a kind that does not exist', async () => {
    const answer = await kubectl(
      ['apply', '-f', '-'],
      'apiVersion: cilium.io/v2\nkind: Nonsense\nmetadata: {name: x}\n',
    );
    expect(answer.code).not.toBe(0);
    expect(answer.err).toMatch(/no matches for kind "Nonsense"/);
  });

  test('streams exec, logs and port-forward through the node named by the pod', async () => {
    const annotations = { 'cilium-ts.io/kubelet-url': `http+unix://${join(directory, 'kubelet.sock')}` };
    await ok(
      'create -f -',
      JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', annotations } }),
    );
    const spec = { nodeName: 'n1', containers: [{ name: 'main', image: 'x' }] };
    await ok('create -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec }));
    await ok('patch pod p --subresource=status --type=merge -p {"status":{"phase":"Running"}}');
    const long = 'x'.repeat(9000);
    expect((await kubectl(['exec', 'p', '--', 'printf', long])).out).toBe(long);
    expect((await kubectl(['exec', '-i', 'p', '--', 'cat'], 'typed in')).out).toBe('typed in');
    const failed = await kubectl(['exec', 'p', '--', 'sh', '-c', 'echo no >&2; exit 7']);
    expect([failed.code, failed.err]).toEqual([7, expect.stringContaining('no\n')]);
    expect(await ok('logs p --tail=3')).toContain('/containerLogs/default/p/main?');
    expect(await forwarded('hello')).toBe('echo hello');
  });
});

/** Sends `text` through a port-forward to an echo server and returns the answer. */
async function forwarded(text: string): Promise<string> {
  const echo = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', (chunk) => socket.end(`echo ${chunk.toString()}`));
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const remote = (echo.address() as AddressInfo).port;
  const env = { ...process.env, KUBECONFIG: join(directory, 'kubeconfig'), HOME: directory };
  const child = spawn('kubectl', ['port-forward', 'p', `:${remote}`, '--address', '127.0.0.1'], { env });
  try {
    const local = await forwardedPort(child);
    return await new Promise((resolve, reject) => {
      const socket = connect(local, '127.0.0.1', () => socket.write(text));
      let answer = '';
      socket.on('data', (chunk) => (answer += chunk.toString()));
      socket.on('end', () => resolve(answer));
      socket.on('error', reject);
    });
  } finally {
    child.kill();
    echo.close();
  }
}

function forwardedPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    const read = (chunk: Buffer): void => {
      text += chunk.toString();
      const port = /127\.0\.0\.1:(\d+) ->/.exec(text)?.[1];
      if (port) resolve(Number(port));
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('exit', () => reject(new Error(`kubectl port-forward ended: ${text}`)));
  });
}
