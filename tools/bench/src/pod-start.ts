// SPDX-License-Identifier: Apache-2.0
// CNI ADD for pods of one node, one after another and all at once: the whole run of the plugin as the container runtime
// waits for it, and the agent's part of it as the agent logs it.
import { PODS, waitFor } from '@cilium-ts/kube';
import { benchRow, percentile, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { allReady, createPod, withCluster, type BenchCluster } from './cluster.ts';
import { withTimedPlugin } from './plugin-timer.ts';
import { buildLoadTool } from './tcp-load.ts';

const NODE = 'node1';
const GOAL_MS = 50;

/** Durations of the ADD calls for pods of a namespace, by pod name, in milliseconds. */
export function addDurations(log: string, namespace: string): Map<string, number> {
  const durations = new Map<string, number>();
  for (const line of log.split('\n')) {
    if (!line.includes(`K8S_POD_NAMESPACE=${namespace};`)) continue;
    const { command, args, ms, message } = JSON.parse(line) as Record<string, unknown>;
    const pod = /(?:^|;)K8S_POD_NAME=([^;]*)/.exec(String(args))?.[1];
    if (message === 'CNI' && command === 'ADD' && pod !== undefined && typeof ms === 'number')
      durations.set(pod, ms);
  }
  return durations;
}

async function agentLog({ client }: BenchCluster): Promise<string> {
  const { items } = await client.list(PODS, { namespace: 'kube-system', labelSelector: 'k8s-app=cilium' });
  const agent = items.find((pod) => pod.spec?.nodeName === NODE)?.metadata.name;
  if (agent === undefined) throw new Error(`no agent on ${NODE}`);
  const path = `/api/v1/namespaces/kube-system/pods/${agent}/log?container=cilium-agent`;
  const answer = await client.stream({ method: 'GET', path });
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function removeAll(cluster: BenchCluster): Promise<void> {
  const { client, namespace } = cluster;
  await client.deleteCollection(PODS, { namespace, gracePeriodSeconds: 0 });
  await waitFor('the pods to go', async () => (await client.list(PODS, { namespace })).items.length === 0);
}

/** How long each ADD took, by pod name. */
interface AddTimes {
  readonly plugin: ReadonlyMap<string, number>;
  readonly agent: ReadonlyMap<string, number>;
}

async function measure(cluster: BenchCluster, options: BenchOptions): Promise<BenchRow[]> {
  const count = options.small ? 3 : 50;
  const names = (kind: string): string[] => Array.from({ length: count }, (_, i) => `${kind}-${i}`);
  const ready: number[] = [];
  const timed = await withTimedPlugin(NODE, async (durations) => {
    for (const [index, name] of names('single').entries()) {
      const started = performance.now();
      await createPod(cluster, { name, node: NODE });
      await allReady(cluster, index + 1);
      ready.push(performance.now() - started);
    }
    options.log('one after another: done');
    await removeAll(cluster);
    const started = performance.now();
    await Promise.all(names('burst').map((name) => createPod(cluster, { name, node: NODE })));
    await allReady(cluster, count);
    const burst = performance.now() - started;
    return { burst, plugin: durations(cluster.namespace) };
  });
  const times = { plugin: timed.plugin, agent: addDurations(await agentLog(cluster), cluster.namespace) };
  await removeAll(cluster);
  return [
    ...addRows(times, names('single'), `${count} pods one after another`, GOAL_MS),
    ...addRows(times, names('burst'), `burst of ${count}`),
    row(`burst of ${count}, created to all ready`, timed.burst),
    row(`one pod, created to ready, p50`, percentile(ready, 50)),
  ];
}

function row(what: string, ours: number, goal?: number): BenchRow {
  return benchRow({ case: what, unit: 'ms', ours, better: 'lower', ...(goal === undefined ? {} : { goal }) });
}

function addRows(times: AddTimes, pods: readonly string[], what: string, goal?: number): BenchRow[] {
  const durations = (kind: keyof AddTimes): number[] =>
    pods.map((name) => {
      const ms = times[kind].get(name);
      if (ms === undefined) throw new Error(`no time of the ${kind} for CNI ADD of pod ${name}`);
      return ms;
    });
  const [whole, agent] = [durations('plugin'), durations('agent')];
  return [
    row(`CNI ADD, ${what}, p50`, percentile(whole, 50)),
    row(`CNI ADD, ${what}, p99`, percentile(whole, 99), goal),
    row(`the agent’s part, ${what}, p50`, percentile(agent, 50)),
    row(`the agent’s part, ${what}, p99`, percentile(agent, 99)),
  ];
}

export const podStart: Bench = {
  name: 'pod-start',
  summary: 'CNI ADD for pods of one node, one after another and in a burst',
  run: (options) => {
    buildLoadTool();
    return withCluster({ log: options.log, startOptions: ['--no-demo'] }, (cluster) =>
      measure(cluster, options),
    );
  },
};
