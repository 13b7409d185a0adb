// SPDX-License-Identifier: Apache-2.0
// Dumps of the pinned maps, straight from the kernel: they answer also while no agent runs.
import { printTable, printValue } from '../print.ts';
import * as views from './bpf-views.ts';
import { PinnedMaps, type BpfOptions, type Dump } from './pinned-maps.ts';

type View = (maps: PinnedMaps, args: readonly string[], options: BpfOptions) => Promise<Dump>;

const VIEWS: Readonly<Record<string, View>> = {
  listServices: views.listServices,
  listConnections: views.listConnections,
  listTranslations: views.listTranslations,
  listIpcache: views.listIpcache,
  listPolicy: views.listPolicy,
  listMetrics: views.listMetrics,
  listEndpoints: views.listEndpoints,
  showMap: views.showMap,
};

export async function run(name: string, args: readonly string[], options: BpfOptions): Promise<void> {
  const root = options.bpfRoot ?? process.env['CILIUM_BPF_ROOT'] ?? '/sys/fs/bpf';
  const view = VIEWS[name]!;
  const dump = await view(new PinnedMaps(root), args, options);
  if (await printValue(dump.value, options)) return;
  if (Object.keys(dump.value as object).length === 0) process.stderr.write('No entries found.\n');
  printTable(dump.rows);
}
