// SPDX-License-Identifier: Apache-2.0
// The sandbox that the whole-cluster benches run in: the one that is up, or one of their own that goes with them.
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KubeClient, NAMESPACES, PODS, loadKubeConfigFile, waitFor, type Pod } from '@cilium-ts/kube';

const SANDBOX = join('dist', 'apps', 'sandbox.cjs');
const KUBECONFIG = '/var/lib/cilium-ts/sandbox/kubeconfig';
const IMAGE = 'cilium-ts/demo:0.1.0';
const STANDING_MS = 60_000;
const execute = promisify(execFile);

export interface BenchCluster {
  readonly client: KubeClient;
  /** A namespace of this run alone. */
  readonly namespace: string;
}

export interface ClusterNeeds {
  readonly log: (line: string) => void;
  /** What a sandbox of our own is started with. */
  readonly startOptions: readonly string[];
}

export interface BenchPod {
  readonly name: string;
  readonly node: string;
  readonly address: string;
  /** Path of its network namespace. */
  readonly netns: string;
}

/** Runs a command of the sandbox. @throws with its output where it fails */
export async function sandbox(...args: string[]): Promise<string> {
  try {
    return (await execute(process.execPath, [SANDBOX, ...args], { timeout: 120_000 })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`sandbox ${args.join(' ')}: ${stdout ?? ''}${stderr ?? ''}`.trim(), { cause: error });
  }
}

/** Whether somebody's sandbox holds the machine. */
export const sandboxIsUp = (): Promise<boolean> =>
  sandbox('status').then(
    () => true,
    () => false,
  );

/** Gives `use` a namespace in a cluster of at least two nodes; namespace, and a sandbox of our own, go afterwards. */
export async function withCluster<T>(
  needs: ClusterNeeds,
  use: (cluster: BenchCluster) => Promise<T>,
): Promise<T> {
  const isOurs = !(await sandboxIsUp());
  needs.log(isOurs ? 'starting a sandbox' : 'in the sandbox that is up');
  if (isOurs) await sandbox('start', '--detach', ...needs.startOptions);
  try {
    return await inNamespace(use);
  } finally {
    if (isOurs) await sandbox('stop');
  }
}

async function inNamespace<T>(use: (cluster: BenchCluster) => Promise<T>): Promise<T> {
  const client = new KubeClient(await loadKubeConfigFile(KUBECONFIG));
  const namespace = `bench-${process.pid}`;
  await client.create(NAMESPACES, { metadata: { name: namespace } });
  try {
    return await use({ client, namespace });
  } finally {
    await client.delete(NAMESPACES, { name: namespace });
    await waitFor(
      'the end of the namespace',
      async () => !(await client.find(NAMESPACES, { name: namespace })),
    );
    client.close();
  }
}

let tokens = 0;

/** A number that no other process of the machine sleeps for, by which the pod's process is found. */
const nextToken = (): string => `1000000.${process.pid}0${++tokens}`;

/** A pod that sleeps, on a node of its own choosing by `node`. */
export async function createPod(
  { client, namespace }: BenchCluster,
  pod: { readonly name: string; readonly node: string; readonly labels?: Record<string, string> },
): Promise<string> {
  const token = nextToken();
  await client.create(PODS, {
    metadata: { name: pod.name, namespace, labels: pod.labels ?? {} },
    spec: {
      nodeName: pod.node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: IMAGE, command: ['sleep', token] }],
    },
  });
  return token;
}

const isReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

/** Resolves with the pods of the namespace when all are ready. */
export function allReady({ client, namespace }: BenchCluster, count: number): Promise<Pod[]> {
  const look = async (): Promise<Pod[] | false> => {
    const { items } = await client.list(PODS, { namespace });
    return items.length >= count && items.every(isReady) && items;
  };
  return waitFor(`${count} ready pods`, look, { timeoutMs: STANDING_MS, intervalMs: 20 });
}

/** Pods that sleep, ready, with the namespaces that load tools enter. */
export async function sleepingPods(
  cluster: BenchCluster,
  wanted: readonly {
    readonly name: string;
    readonly node: string;
    readonly labels?: Record<string, string>;
  }[],
): Promise<BenchPod[]> {
  const tokens: string[] = [];
  for (const pod of wanted) tokens.push(await createPod(cluster, pod));
  const pods = await allReady(cluster, wanted.length);
  return wanted.map(({ name, node }, index) => {
    const address = pods.find((pod) => pod.metadata.name === name)?.status?.podIP;
    const pid = processesWith(`sleep ${tokens[index]}`)[0];
    if (address === undefined || pid === undefined)
      throw new Error(`pod ${name} has no address or no process`);
    return { name, node, address, netns: `/proc/${pid}/ns/net` };
  });
}

/** Process ids of the machine whose command line contains `text`. */
export function processesWith(text: string): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (/^\d+$/.test(entry) && commandLine(entry).includes(text)) found.push(Number(entry));
  }
  return found;
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // It ended meanwhile.
  }
}
