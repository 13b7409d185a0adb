// SPDX-License-Identifier: Apache-2.0
// For kernel tests: a node in a network namespace of its own, the agent as a real process in it, pods as bare namespaces.
import { spawn, type ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { createServer, Socket, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addAddress,
  createNetns,
  createVeth,
  deleteNetns,
  Netlink,
  replaceRoute,
  setLink,
} from '@cilium-ts/netlink';
import { loadNative } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';
import { buildSync } from 'esbuild';
import { TestApi } from './test-api.ts';

const API_PORT = 7443;
const WAIT_MS = 20_000;

export interface CniRun {
  readonly code: number | null;
  readonly stdout: string;
}

/** Resolves when `check` is true or gives a value. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value as T;
    if (performance.now() > end) throw new Error(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function findCgroup2(): string {
  const line = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find((one) => one.split(' ')[2] === 'cgroup2');
  if (!line) throw new Error('no cgroup v2 is mounted');
  return line.split(' ')[1]!;
}

export class TestNode {
  readonly native = loadNative();
  readonly netlink = new Netlink(this.native);
  readonly api = new TestApi();
  readonly name: string;
  readonly directory: string;
  readonly #cgroup: string;
  readonly #namespaces: string[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #log: string[] = [];
  #agent: ChildProcess | undefined;

  constructor(suffix: string) {
    this.name = uniqueName(suffix);
    this.directory = mkdtempSync(join(tmpdir(), `${this.name}-`));
    this.#cgroup = join(findCgroup2(), this.name);
  }

  get log(): string {
    return this.#log.join('');
  }

  async #namespace(name: string): Promise<string> {
    const full = `${this.name}-${name}`;
    await createNetns(this.native, full);
    this.#namespaces.push(full);
    return `/run/netns/${full}`;
  }

  /** Of the namespace `node`, `out` or a pod. */
  path(where: string): string {
    return `/run/netns/${this.name}-${where}`;
  }

  /** The node's namespace, and one outside of it on the same wire. */
  async prepare(): Promise<void> {
    const node = await this.#namespace('node');
    const outside = await this.#namespace('out');
    const fds = [node, outside].map((path) => this.native.fdOpen({ path }));
    const veth = createVeth({ name: 'eth0', netnsFd: fds[0]! }, { name: 'eth0', netnsFd: fds[1]! });
    await this.netlink.run(veth);
    for (const fd of fds) this.native.fdClose({ fd });
    const configure = (host: number) => [
      setLink('lo', { up: true }),
      addAddress({ link: 'eth0', address: `192.168.79.${host}/24` }),
      addAddress({ link: 'eth0', address: `fd79::${host}/64` }),
      setLink('eth0', { up: true }),
    ];
    await this.netlink.run(
      [...configure(1), replaceRoute({ destination: 'default', gateway: '192.168.79.200' })],
      node,
    );
    await this.netlink.run(configure(200), outside);
    const listener = { kind: 'tcp-listen', address: '127.0.0.1', port: API_PORT, netns: node } as const;
    await this.api.listen(this.native.socketOpen(listener));
    mkdirSync(this.#cgroup);
    this.#objects();
    this.#build();
  }

  #objects(): void {
    this.api.put('nodes', {
      metadata: { name: 'node1' },
      spec: { podCIDRs: ['10.79.1.0/24', 'fd00:79:1::/64'] },
      status: {
        addresses: [
          { type: 'InternalIP', address: '192.168.79.1' },
          { type: 'InternalIP', address: 'fd79::1' },
        ],
      },
    });
    this.api.put('namespaces', { metadata: { name: 'test' } });
  }

  /** A pod object and the identity that the operator would have given it. */
  pod(name: string, identity: number): void {
    this.api.put('pods', {
      metadata: { name, namespace: 'test', labels: { app: name } },
      spec: { nodeName: 'node1', containers: [{ name: 'c', image: 'x' }] },
    });
    this.api.put('ciliumidentities', {
      metadata: { name: String(identity) },
      'security-labels': {
        'k8s:app': name,
        'k8s:io.cilium.k8s.policy.cluster': 'default',
        'k8s:io.cilium.k8s.policy.serviceaccount': 'default',
        'k8s:io.kubernetes.pod.namespace': 'test',
      },
    });
  }

  #build(): void {
    buildSync({
      entryPoints: [join(process.cwd(), 'apps/agent/src/main.ts')],
      outfile: join(this.directory, 'agent.cjs'),
      bundle: true,
      platform: 'node',
      format: 'cjs',
      conditions: ['@cilium-ts/source'],
      mainFields: ['module', 'main'],
      logLevel: 'error',
      external: ['bufferutil', 'utf-8-validate', 'pino-pretty'],
    });
    execFileSync('make', ['-C', join(process.cwd(), 'apps/cni'), `OUT=${this.directory}`], {
      stdio: 'ignore',
    });
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [{ name: 'test', cluster: { server: `http://127.0.0.1:${API_PORT}` } }],
      users: [{ name: 'test', user: {} }],
    };
    writeFileSync(join(this.directory, 'kubeconfig'), JSON.stringify(config));
  }

  /** Starts the agent; resolves when pods can be served. */
  async start(flags: readonly string[] = []): Promise<void> {
    const { directory } = this;
    const args = [
      `--net=/run/netns/${this.name}-node`,
      process.execPath,
      join(directory, 'agent.cjs'),
      '--bus=embedded',
      `--state-dir=${directory}/run`,
      `--bpf-root=${directory}/bpf`,
      `--k8s-kubeconfig-path=${directory}/kubeconfig`,
      `--cgroup-root=${this.#cgroup}`,
      `--hubble-socket-path=${directory}/hubble.sock`,
      ...flags,
    ];
    const env = {
      ...process.env,
      K8S_NODE_NAME: 'node1',
      CILIUM_TS_NATIVE: join(process.cwd(), 'dist/native/cilium_native.node'),
      CILIUM_TS_BPF: join(process.cwd(), 'dist/bpf'),
    };
    this.#log.length = 0;
    const child = spawn('nsenter', args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#agent = child;
    child.stdout.on('data', (chunk: Buffer) => this.#log.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => this.#log.push(chunk.toString()));
    let exited = false;
    child.once('exit', () => (exited = true));
    await until('the agent is ready', () => {
      if (exited) throw new Error(`the agent ended: ${this.log}`);
      return this.log.includes('agent ready');
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#agent;
    this.#agent = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  get<T>(path: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = request(
        { socketPath: join(this.directory, 'run/cilium.sock'), path: `/v1${path}` },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString()));
          response.on('end', () => resolve(JSON.parse(text) as T));
        },
      );
      call.on('error', reject);
      call.end();
    });
  }

  async addNamespace(name: string): Promise<string> {
    return this.#namespace(name);
  }

  cni(command: string, pod: string, extra: Record<string, string> = {}): Promise<CniRun> {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: `id-${pod}`,
      CNI_NETNS: `/run/netns/${this.name}-${pod}`,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `K8S_POD_NAMESPACE=test;K8S_POD_NAME=${pod}`,
      CILIUM_RUN_DIR: join(this.directory, 'run'),
      ...extra,
    };
    return new Promise((resolve, reject) => {
      const child = spawn(join(this.directory, 'cilium-cni'), [], { env });
      let stdout = '';
      child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, stdout }));
      child.stdin.end('{"cniVersion":"1.1.0","name":"cilium","type":"cilium-cni"}');
    });
  }

  /** An echo server inside a namespace of this node (`node`, `out` or a pod). */
  async echo(where: string, address: string, port: number): Promise<void> {
    const netns = `/run/netns/${this.name}-${where}`;
    const fd = this.native.socketOpen({ kind: 'tcp-listen', address, port, netns });
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  }

  /** A connection made inside a namespace; undefined where it does not come about in time. */
  async connect(where: string, address: string, port: number, timeoutMs = 1000): Promise<Socket | undefined> {
    const netns = `/run/netns/${this.name}-${where}`;
    try {
      const fd = await this.native.socketOpenAsync({ kind: 'tcp-connect', address, port, netns, timeoutMs });
      const socket = new Socket({ fd, readable: true, writable: true });
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      return socket;
    } catch {
      return undefined;
    }
  }

  async reaches(where: string, address: string, port: number): Promise<boolean> {
    const socket = await this.connect(where, address, port);
    socket?.destroy();
    return socket !== undefined;
  }

  async cleanUp(): Promise<void> {
    await this.kill();
    await this.api.stop();
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    for (const name of this.#namespaces) await deleteNetns(this.native, name);
    const bpf = join(this.directory, 'bpf');
    if (existsSync(join(bpf, 'tc'))) {
      for (const pin of readdirSync(join(bpf, 'cilium/links')))
        rmSync(join(bpf, 'cilium/links', pin), { force: true });
      this.native.umount({ target: bpf });
    }
    if (existsSync(this.#cgroup)) rmdirSync(this.#cgroup);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Sends bytes and waits for as many to come back. */
export function echoOnce(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no echo in time')), 5000);
    socket.once('data', (chunk: Buffer) => {
      clearTimeout(timer);
      resolve(chunk.toString());
    });
    socket.write(text);
  });
}
