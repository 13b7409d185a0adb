// SPDX-License-Identifier: Apache-2.0
// From the call that creates a policy to the first packet that it refuses on every node, and back. The packets belong to
// flows that are open all the time, so that what is measured holds for connections as well.
import { setTimeout as delay } from 'node:timers/promises';
import { CILIUM_NETWORK_POLICIES } from '@cilium-ts/kube';
import { benchRow, percentile, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { sleepingPods, withCluster, type BenchCluster } from './cluster.ts';
import { Probes } from './probes.ts';
import { buildLoadTool } from './tcp-load.ts';

const NODES = ['node1', 'node2'] as const;
const POLICY = 'bench-deny';
const GOAL_MS = 50;

interface Samples {
  readonly created: number[];
  readonly deleted: number[];
}

const milliseconds = (from: bigint, to: bigint): number => Number(to - from) / 1e6;

/** One policy created and deleted; both times begin before the call, so the API server's part is in them. */
async function round({ client, namespace }: BenchCluster, probes: Probes, samples: Samples): Promise<void> {
  await probes.until(true);
  const creating = process.hrtime.bigint();
  await client.create(CILIUM_NETWORK_POLICIES, {
    metadata: { name: POLICY, namespace },
    spec: { endpointSelector: { matchLabels: { app: 'prober' } }, egressDeny: [{ toEntities: ['all'] }] },
  });
  samples.created.push(milliseconds(creating, await probes.until(false)));
  const deleting = process.hrtime.bigint();
  await client.delete(CILIUM_NETWORK_POLICIES, { name: POLICY, namespace });
  samples.deleted.push(milliseconds(deleting, await probes.until(true)));
}

async function measure(cluster: BenchCluster, options: BenchOptions): Promise<BenchRow[]> {
  const wanted = NODES.flatMap((node) => [
    { name: `prober-${node}`, node, labels: { app: 'prober' } },
    { name: `target-${node}`, node, labels: { app: 'target' } },
  ]);
  const pods = await sleepingPods(cluster, wanted);
  const pairs = [
    { from: pods[0]!, to: pods[1]! },
    { from: pods[2]!, to: pods[3]! },
  ];
  const probes = new Probes(pairs);
  const samples: Samples = { created: [], deleted: [] };
  const rounds = options.small ? 5 : 200;
  try {
    for (let i = 0; i < rounds; i++) {
      await round(cluster, probes, samples);
      if ((i + 1) % 50 === 0) options.log(`${i + 1} of ${rounds}`);
      // Uneven pauses, so that no timer of the control plane beats in step.
      await delay(20 + ((i * 7) % 30));
    }
  } finally {
    probes.stop();
  }
  return rows(samples);
}

function rows(samples: Samples): BenchRow[] {
  const row = (what: string, values: readonly number[], percent: number, goal?: number): BenchRow =>
    benchRow({
      case: `${what} on both nodes, p${percent} of ${values.length}`,
      unit: 'ms',
      ours: percentile(values, percent),
      better: 'lower',
      ...(goal === undefined ? {} : { goal }),
    });
  return [
    row('policy created to first packet refused', samples.created, 50),
    row('policy created to first packet refused', samples.created, 99, GOAL_MS),
    row('policy deleted to first packet let through', samples.deleted, 50),
    row('policy deleted to first packet let through', samples.deleted, 99),
  ];
}

export const policyLatency: Bench = {
  name: 'policy-latency',
  summary: 'policy object created to the first packet enforced on both nodes',
  run: (options) => {
    buildLoadTool();
    return withCluster({ log: options.log, startOptions: ['--no-demo'] }, (cluster) =>
      measure(cluster, options),
    );
  },
};
