// SPDX-License-Identifier: Apache-2.0
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = process.cwd();
export const STATE = '/var/lib/cilium-ts/sandbox';
const TOOLS = path.join(ROOT, 'dist/tools/bin');
export const NODE = path.join(ROOT, 'node_modules/.bin/node');
const SANDBOX = path.join(ROOT, 'dist/apps/sandbox.cjs');

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const environment = {
  ...process.env,
  KUBECONFIG: path.join(STATE, 'kubeconfig'),
  PATH: `${TOOLS}:${path.join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
};

export function run(
  program: string,
  args: readonly string[],
  input?: string,
  timeoutMs = 60_000,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      [...args],
      { env: environment, encoding: 'utf8', maxBuffer: 1 << 26, timeout: timeoutMs },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 255) : 0;
        resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.end(input ?? '');
  });
}

export const sandbox = (...args: string[]): Promise<Outcome> =>
  run(NODE, [SANDBOX, ...args], undefined, 120_000);

const NODE_FLAGS = ['--conditions=@cilium-ts/source', '--disable-warning=ExperimentalWarning'];

/** A bench in its small form, as JSON on stdout. */
export const runBench = (name: string): Promise<Outcome> =>
  run(NODE, [...NODE_FLAGS, 'tools/bench/src/main.ts', name, '--small', '--json'], undefined, 120_000);

/** Where the outcome of the bench `start` waits for its test. */
export const START_REPORT = path.join(ROOT, 'dist/start-bench.json');

/** Runs the real kubectl; rejects with its output where it fails. */
export async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('kubectl', args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** As kubectl(), for commands that may fail. */
export const tryKubectl = (...args: string[]): Promise<Outcome> => run('kubectl', args);

export async function apply(yaml: string): Promise<string> {
  const { code, stdout, stderr } = await run('kubectl', ['apply', '-f', '-'], yaml);
  if (code !== 0) throw new Error(`kubectl apply: exit ${code}\n${stdout}${stderr}`);
  return stdout;
}

export function background(
  program: string,
  args: readonly string[],
): ChildProcess & { output: () => string } {
  const child = spawn(program, [...args], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (part: Buffer) => (text += part.toString()));
  child.stderr.on('data', (part: Buffer) => (text += part.toString()));
  return Object.assign(child, { output: () => text });
}

/** Polls until `look` gives something truthy; the last error or value is in the message of the failure. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T>,
  timeoutMs = 20_000,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms; last: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export interface PodInfo {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

interface PodJson {
  metadata: { name: string; namespace: string };
  spec: { nodeName: string };
  status: { podIPs?: { ip: string }[]; conditions?: { type: string; status: string }[] };
}

export async function pods(namespace: string, selector: string): Promise<PodInfo[]> {
  const text = await kubectl('get', 'pods', '-n', namespace, '-l', selector, '-o', 'json');
  const { items } = JSON.parse(text) as { items: PodJson[] };
  return items
    .filter(({ status }) =>
      status.conditions?.some(({ type, status: ready }) => type === 'Ready' && ready === 'True'),
    )
    .map(({ metadata, spec, status }) => ({
      namespace: metadata.namespace,
      name: metadata.name,
      node: spec.nodeName,
      ipv4: status.podIPs?.find(({ ip }) => !ip.includes(':'))?.ip ?? '',
      ipv6: status.podIPs?.find(({ ip }) => ip.includes(':'))?.ip ?? '',
    }));
}

/** curl inside the pod; undefined where no answer came. */
export async function fetchFrom(pod: PodInfo, url: string, seconds = 2): Promise<string | undefined> {
  const args = [
    'exec',
    '-n',
    pod.namespace,
    pod.name,
    '--',
    'curl',
    '-sS',
    '-g',
    '--max-time',
    String(seconds),
    url,
  ];
  const { code, stdout } = await tryKubectl(...args);
  return code === 0 ? stdout : undefined;
}

export const urlOf = (address: string, port: number): string =>
  `http://${address.includes(':') ? `[${address}]` : address}:${port}/`;

/** A command in the agent of a node. */
export async function inAgent(node: string, ...command: string[]): Promise<string> {
  const text = await kubectl('get', 'pods', '-n', 'kube-system', '-l', 'k8s-app=cilium', '-o', 'json');
  const { items } = JSON.parse(text) as { items: PodJson[] };
  const agent = items.find(({ spec }) => spec.nodeName === node);
  if (!agent) throw new Error(`no agent on ${node}`);
  return kubectl('exec', '-n', 'kube-system', agent.metadata.name, '-c', 'cilium-agent', '--', ...command);
}

/** Process ids of a container's processes whose command line contains `text`. */
export function processesOf(text: string): number[] {
  const found: number[] = [];
  for (const line of cgroupProcesses()) {
    const file = `/proc/${line}/cmdline`;
    if (existsSync(file) && readFileSync(file, 'utf8').replaceAll('\0', ' ').includes(text)) found.push(line);
  }
  return found;
}

function* cgroupProcesses(): Generator<number> {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mount = mounts.find((line) => line.includes(' - cgroup2 '))?.split(' ')[4] ?? '/sys/fs/cgroup';
  yield* walk(path.join(mount, 'cilium-ts'));
}

function* walk(folder: string): Generator<number> {
  if (!existsSync(folder)) return;
  for (const pid of readFileSync(path.join(folder, 'cgroup.procs'), 'utf8').split('\n'))
    if (pid) yield Number(pid);
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) yield* walk(path.join(folder, entry.name));
}
