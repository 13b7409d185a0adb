// SPDX-License-Identifier: Apache-2.0
// Pod to pod TCP under our programs (policy and events on) against the kernel's own routing over the same veths.
import { mkdtempSync, rmdirSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBpffs } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import { benchRow, median, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { loadDatapath, type NodeDatapath } from './datapath.ts';
import { buildLoadTool, measureLoad, startServer, type LoadKind } from './tcp-load.ts';
import { buildTopology, type Pod, type Topology } from './topology.ts';

const PORT = 5201;
const DENIED_PORT = 5202;
const SIDES = ['ours', 'kernel'] as const;
type Side = (typeof SIDES)[number];
const PLACES = ['same', 'across'] as const;
type Place = (typeof PLACES)[number];

interface Load {
  readonly kind: LoadKind;
  readonly name: string;
  readonly goals: Readonly<Record<Place, number>>;
  readonly count: number;
}

interface Bed {
  readonly topology: Topology;
  readonly datapaths: readonly NodeDatapath[];
  readonly client: Pod;
  readonly servers: Readonly<Record<Place, Pod>>;
}

async function withBed<T>(native: Native, use: (bed: Bed) => Promise<T>): Promise<T> {
  const bpffs = mkdtempSync(join(tmpdir(), 'ctb-bpffs-'));
  ensureBpffs(native, bpffs);
  const undo: (() => void | Promise<void>)[] = [
    () => {
      native.umount({ target: bpffs });
      rmdirSync(bpffs);
    },
  ];
  try {
    const topology = await buildTopology(native);
    undo.push(() => topology.remove());
    const datapaths: NodeDatapath[] = [];
    for (const node of topology.nodes) {
      const datapath = await loadDatapath(native, topology, node, join(bpffs, node.name), { port: PORT });
      undo.push(() => datapath.close());
      datapaths.push(datapath);
    }
    const [first, second] = topology.nodes;
    const servers = { same: first.pods[1]!, across: second.pods[0]! };
    for (const pod of Object.values(servers)) {
      for (const port of [PORT, DENIED_PORT]) {
        const server = await startServer(pod.netns, pod.address, port);
        undo.push(() => server.stop());
      }
    }
    return await use({ topology, datapaths, client: first.pods[0]!, servers });
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

async function switchTo(bed: Bed, side: Side): Promise<void> {
  for (const datapath of bed.datapaths) await (side === 'ours' ? datapath.attach() : datapath.detach());
}

/** A bench of an open door measures nothing: policy must hold before anything counts. */
async function provePolicy(native: Native, bed: Bed): Promise<void> {
  await switchTo(bed, 'ours');
  for (const place of PLACES) {
    const { address } = bed.servers[place];
    let refused = false;
    try {
      const target = { kind: 'tcp-connect', address, port: DENIED_PORT, timeoutMs: 300 } as const;
      native.fdClose({ fd: await native.socketOpenAsync({ ...target, netns: bed.client.netns }) });
    } catch {
      refused = true;
    }
    if (!refused) throw new Error(`policy does not hold: ${address}:${DENIED_PORT} (${place}) was reached`);
  }
  await switchTo(bed, 'kernel');
}

type Samples = Record<Place, Record<Side, number[]>>;

async function round(
  bed: Bed,
  load: Load,
  count: number,
  sides: readonly Side[],
  samples: Samples,
): Promise<void> {
  for (const side of sides) {
    await switchTo(bed, side);
    for (const place of PLACES) {
      const target = { address: bed.servers[place].address, port: PORT };
      samples[place][side].push((await measureLoad(load.kind, bed.client.netns, target, count)).rate);
    }
    await switchTo(bed, 'kernel');
  }
}

async function run(load: Load, options: BenchOptions): Promise<BenchRow[]> {
  const native = loadNative();
  buildLoadTool();
  // The event reader keeps off the CPU that the load is measured on.
  if (cpus().length > 1) native.setAffinity({ pid: 0, cpu: 1 });
  try {
    return await withBed(native, (bed) => measure(native, bed, load, options));
  } finally {
    native.setAffinity({ pid: 0 });
  }
}

async function measure(native: Native, bed: Bed, load: Load, options: BenchOptions): Promise<BenchRow[]> {
  await provePolicy(native, bed);
  const rounds = options.small ? 1 : 9;
  const count = options.small ? 200 : load.count;
  const samples: Samples = { same: { ours: [], kernel: [] }, across: { ours: [], kernel: [] } };
  for (let i = 0; i < rounds; i++) {
    await round(bed, load, count, i % 2 === 0 ? SIDES : SIDES.toReversed(), samples);
    options.log(`round ${i + 1} of ${rounds}`);
  }
  const events = bed.datapaths.map((datapath) =>
    [...datapath.events.values()].reduce((sum, n) => sum + n, 0),
  );
  options.log(`events read from the rings: ${events.join(', ')}`);
  return PLACES.map((place) =>
    benchRow({
      case: `${load.name}, ${place} node, policy and events on`.replace('across node', 'across nodes'),
      unit: 'transactions/s',
      ours: median(samples[place].ours),
      peer: { name: 'kernel routing, no policy', value: median(samples[place].kernel) },
      goal: load.goals[place],
      better: 'higher',
    }),
  );
}

export const podRr: Bench = {
  name: 'pod-rr',
  summary: 'TCP request/response pod to pod against plain kernel routing',
  run: (options) =>
    run({ kind: 'rr', name: 'request/response', goals: { same: 1.15, across: 1.05 }, count: 15000 }, options),
};

export const podCrr: Bench = {
  name: 'pod-crr',
  summary: 'TCP connect-request-close pod to pod against plain kernel routing',
  run: (options) =>
    run(
      { kind: 'crr', name: 'connect-request-close', goals: { same: 1.05, across: 1 }, count: 4000 },
      options,
    ),
};
