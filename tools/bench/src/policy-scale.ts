// SPDX-License-Identifier: Apache-2.0
// Policies applied one at a time to one compiler with many nodes: from the call that creates the object until every node has
// acknowledged a revision that contains it. Real API server, NATS and compiler processes; nodes without a kernel.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { silentLogger } from '@cilium-ts/base';
import { Bucket, BusConnection } from '@cilium-ts/bus';
import { KINDS, crdManifest } from '@cilium-ts/crd';
import {
  CILIUM_IDENTITIES,
  CILIUM_NETWORK_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  KubeClient,
  NAMESPACES,
  NODES,
  loadKubeConfigFile,
  waitFor,
} from '@cilium-ts/kube';
import { formatLabel } from '@cilium-ts/identity';
import { ACK_BUCKET, HEAD_KEY, POLICY_BUCKET, type Head, type NodeReport } from '@cilium-ts/policy';
import { benchRow, median, percentile, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import type { NodesTask } from './policy-scale-nodes.ts';
import { peerIdentities } from './policy-inputs.ts';

const THREADS = 2;
const IDENTITIES = 1000;
const READY_MS = 600_000;
const NAMESPACE = 'bench';

interface Bed {
  readonly client: KubeClient;
  readonly natsUrl: string;
  readonly stop: () => Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function openBed(): Promise<Bed> {
  const folder = mkdtempSync(join(tmpdir(), 'policy-scale-'));
  const children: ChildProcess[] = [];
  const start = (
    program: string,
    args: readonly string[],
    stdout: 'pipe' | 'ignore' = 'ignore',
  ): ChildProcess => {
    const child = spawn(program, args, {
      stdio: ['ignore', stdout, program === 'nats-server' ? 'ignore' : 'inherit'],
    });
    children.push(child);
    return child;
  };
  const api = start(
    process.execPath,
    ['dist/apps/apiserver.cjs', '--listen', '127.0.0.1:0', '--data-dir', folder],
    'pipe',
  );
  await once(api.stdout!, 'data');
  const port = await freePort();
  start('nats-server', ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(folder, 'nats')]);
  const kubeconfig = join(folder, 'kubeconfig');
  const client = new KubeClient(await loadKubeConfigFile(kubeconfig));
  for (const kind of KINDS) await client.create(CUSTOM_RESOURCE_DEFINITIONS, crdManifest(kind) as never);
  const natsUrl = `127.0.0.1:${port}`;
  await client.create(NAMESPACES, { metadata: { name: NAMESPACE } });
  await client.create(NAMESPACES, { metadata: { name: 'kube-system' } }).catch(() => undefined);
  start(process.execPath, [
    'dist/apps/policy-compiler.cjs',
    `--k8s-kubeconfig-path=${kubeconfig}`,
    `--nats-url=${natsUrl}`,
    '--policy-compiler-health-address=',
    `--policy-compiler-grpc-address=127.0.0.1:${await freePort()}`,
    '--log-level=error',
  ]);
  const stop = async (): Promise<void> => {
    client.close();
    for (const child of children) {
      const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  return { client, natsUrl, stop };
}

/** Nodes in threads, put into `workers`; resolves when all follow the policy. */
async function startNodes(natsUrl: string, count: number, workers: Worker[]): Promise<void> {
  const names = Array.from({ length: count }, (_, at) => `node${at + 1}`);
  const perThread = Math.ceil(count / THREADS);
  let ready = 0;
  for (let at = 0; at < THREADS; at++) {
    const task: NodesTask = {
      natsUrl,
      names: names.slice(at * perThread, (at + 1) * perThread),
      identities: IDENTITIES,
    };
    const worker = new Worker(join(process.cwd(), 'tools/bench/src/policy-scale-nodes.ts'), {
      workerData: task,
      execArgv: ['--conditions=@cilium-ts/source', '--disable-warning=ExperimentalWarning'],
    });
    worker.on('message', (message) => (ready += message === 'ready' ? 1 : 0));
    workers.push(worker);
  }
  await waitFor('the nodes', () => ready >= count, { timeoutMs: READY_MS, intervalMs: 50 });
}

async function bytesOf(workers: readonly Worker[]): Promise<number> {
  let bytes = 0;
  for (const worker of workers) {
    worker.postMessage('bytes');
    const [answer] = (await once(worker, 'message')) as [{ bytes: number }];
    bytes += answer.bytes;
  }
  return bytes;
}

/** Follows head and acknowledgements. */
class Progress {
  readonly #reports = new Map<string, number>();
  head = 0;

  async follow(natsUrl: string): Promise<BusConnection> {
    const bus = new BusConnection({
      name: 'bench',
      addresses: () => [natsUrl],
      log: silentLogger,
      onSession: async (session) => {
        const acks = await Bucket.open(session, ACK_BUCKET);
        const take = ({ key, value }: { key: string; value: string | undefined }): void => {
          if (value !== undefined) this.#reports.set(key, (JSON.parse(value) as NodeReport).revision);
        };
        await acks.watch({ onSnapshot: (all) => all.forEach(take), onChange: take });
        const policy = await Bucket.open(session, POLICY_BUCKET);
        const look = ({ key, value }: { key: string; value: string | undefined }): void => {
          if (key === HEAD_KEY && value !== undefined) this.head = (JSON.parse(value) as Head).revision;
        };
        await policy.watch({ onSnapshot: (all) => all.forEach(look), onChange: look });
      },
      onLost: () => undefined,
    }).start();
    return bus;
  }

  reached(revision: number, nodes: number): boolean {
    if (this.#reports.size < nodes) return false;
    for (const report of this.#reports.values()) if (report < revision) return false;
    return true;
  }
}

function policyObject(at: number): object {
  const name = (offset: number): object => ({
    matchLabels: { name: `pod${((at + offset) % IDENTITIES) + 1}` },
  });
  return {
    metadata: { name: `p${at}`, namespace: NAMESPACE },
    spec: {
      endpointSelector: name(0),
      ingress: [
        { fromEndpoints: [name(1)], toPorts: [{ ports: [{ port: String(1000 + at), protocol: 'TCP' }] }] },
      ],
    },
  };
}

async function applyAll(
  client: KubeClient,
  progress: Progress,
  policies: number,
  nodes: number,
): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < policies; at++) {
    const before = progress.head;
    const start = performance.now();
    await client.create(CILIUM_NETWORK_POLICIES, policyObject(at) as never);
    await waitFor(
      'a revision on all nodes',
      () => progress.head > before && progress.reached(before + 1, nodes),
      {
        timeoutMs: READY_MS,
        intervalMs: 1,
      },
    );
    times.push(performance.now() - start);
  }
  return times;
}

async function run({ small, log }: BenchOptions): Promise<BenchRow[]> {
  const [nodes, policies] = small ? [20, 3] : [1000, 250];
  const bed = await openBed();
  const workers: Worker[] = [];
  let bus: BusConnection | undefined;
  try {
    const { client, natsUrl } = bed;
    for (let at = 1; at <= nodes; at++)
      await client.create(NODES, { metadata: { name: `node${at}` } } as never);
    for (const [id, labels] of peerIdentities(small ? 50 : IDENTITIES, false)) {
      const entries = labels.map((label) => [formatLabel({ ...label, value: '' }), label.value]);
      await client.create(CILIUM_IDENTITIES, {
        metadata: { name: String(id) },
        'security-labels': Object.fromEntries(entries) as Record<string, string>,
      } as never);
    }
    log(`${nodes} nodes, ${policies} policies`);
    const progress = new Progress();
    bus = await progress.follow(natsUrl);
    await startNodes(natsUrl, nodes, workers);
    await waitFor('the first policy', () => progress.head > 0 && progress.reached(progress.head, nodes), {
      timeoutMs: READY_MS,
      intervalMs: 20,
    });
    const before = await bytesOf(workers);
    const times = await applyAll(client, progress, policies, nodes);
    const bytes = ((await bytesOf(workers)) - before) / nodes / policies;
    return rows(times, bytes, nodes, policies);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
    await bus?.stop();
    await bed.stop();
  }
}

function rows(times: readonly number[], bytes: number, nodes: number, policies: number): BenchRow[] {
  const name = `${policies} policies one at a time, ${nodes} nodes: apply to all acknowledged`;
  return [
    benchRow({ case: `${name}, p50`, unit: 'ms', ours: median(times), better: 'lower' }),
    benchRow({ case: `${name}, p99`, unit: 'ms', ours: percentile(times, 99), better: 'lower', goal: 1000 }),
    benchRow({ case: 'received by a node per policy', unit: 'bytes', ours: bytes, better: 'lower' }),
  ];
}

export const policyScale: Bench = {
  name: 'policy-scale',
  summary:
    'policies applied one at a time to one compiler with 1,000 simulated nodes, until all have acknowledged',
  run,
};
