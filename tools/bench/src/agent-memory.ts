// SPDX-License-Identifier: Apache-2.0
// Resident memory of the agents while nothing happens, and while connections come at a steady rate.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { benchRow, median, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { processesWith, sleepingPods, withCluster, type BenchCluster } from './cluster.ts';
import { buildLoadTool, measureLoad, startServer } from './tcp-load.ts';

const GOAL_MIB = 120;
const PORT = 5401;
const FLOWS_PER_SECOND = 1000;
const EVERY_MS = 500;
/** Longer than an agent takes to give back what its start left. */
const QUIET_SECONDS = 120;

/** Resident memory out of `/proc/PID/status`, MiB. */
export function residentMib(status: string): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error('no VmRSS in the process status');
  return Number(kib) / 1024;
}

/** The largest agent at this moment, MiB. */
function largestAgent(agents: readonly number[]): number {
  return Math.max(...agents.map((pid) => residentMib(readFileSync(`/proc/${pid}/status`, 'utf8'))));
}

async function watchMemory(agents: readonly number[], until: Promise<unknown>): Promise<number[]> {
  const samples = [largestAgent(agents)];
  let isOver = false;
  const over = until.finally(() => (isOver = true));
  while (!isOver) {
    await Promise.race([over, delay(EVERY_MS)]);
    samples.push(largestAgent(agents));
  }
  return samples;
}

async function measure(cluster: BenchCluster, options: BenchOptions): Promise<BenchRow[]> {
  const [client, server] = await sleepingPods(cluster, [
    { name: 'client', node: 'node1' },
    { name: 'server', node: 'node2' },
  ]);
  const agents = processesWith('/usr/lib/cilium-ts/apps/agent.cjs');
  if (agents.length === 0) throw new Error('no agent runs');
  const seconds = options.small ? 1 : 60;
  const quiet = options.waitSeconds ?? (options.small ? 1 : QUIET_SECONDS);
  options.log(`${quiet} s of quiet, then ${seconds} s of ${FLOWS_PER_SECOND} connections/s`);
  const idle = await watchMemory(agents, delay(quiet * 1000));
  const service = await startServer(server!.netns, server!.address, PORT);
  try {
    const target = { address: server!.address, port: PORT };
    const count = seconds * FLOWS_PER_SECOND;
    const load = measureLoad('crr', client!.netns, target, count, FLOWS_PER_SECOND);
    const loaded = await watchMemory(agents, load);
    return rows(idle, loaded, (await load).rate);
  } finally {
    service.stop();
  }
}

function rows(idle: readonly number[], loaded: readonly number[], rate: number): BenchRow[] {
  const row = (what: string, ours: number, goal?: number): BenchRow =>
    benchRow({
      case: `largest agent, ${what}`,
      unit: 'MiB',
      ours,
      better: 'lower',
      ...(goal === undefined ? {} : { goal }),
    });
  return [
    row('quiet, at the end', idle.at(-1)!, GOAL_MIB),
    row(`${Math.round(rate)} connections/s, median`, median(loaded)),
    row(`${Math.round(rate)} connections/s, at most`, Math.max(...loaded)),
  ];
}

export const agentMemory: Bench = {
  name: 'agent-memory',
  summary: 'resident memory of an agent, quiet and under 1,000 connections per second',
  run: (options) => {
    buildLoadTool();
    return withCluster({ log: options.log, startOptions: [] }, (cluster) => measure(cluster, options));
  },
};
