// SPDX-License-Identifier: Apache-2.0
// Dumps of the pinned maps, straight from the kernel: they answer also while no agent runs.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '@cilium-ts/base';
import { BpfMap, OuterMap, PerCpuMap, type MapSpec, type OuterMapSpec } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import { printTable, printValue, type OutputOptions } from '../print.ts';
import * as views from './bpf-views.ts';

export interface BpfOptions extends OutputOptions {
  readonly bpfRoot?: string;
  readonly revnat?: boolean;
  readonly frontends?: boolean;
  readonly backends?: boolean;
  readonly timeDiff?: boolean;
}

/** Opens maps by the names they are pinned under. */
export class PinnedMaps {
  readonly #native: Native;
  readonly #directory: string;

  constructor(root: string) {
    if (process.getuid?.() !== 0) throw new AppError('not-root', 'reading BPF maps needs root');
    this.#native = loadNative();
    this.#directory = join(root, 'tc', 'globals');
  }

  #path(name: string): string {
    const path = join(this.#directory, name);
    if (!existsSync(path))
      throw new AppError('no-map', `no map ${path}: did an agent ever run on this node?`);
    return path;
  }

  async entries<K, V>(spec: MapSpec<K, V>): Promise<[K, V][]> {
    const map = BpfMap.openPinned(this.#native, this.#path(spec.name), spec);
    try {
      return await map.entries();
    } finally {
      map.close();
    }
  }

  async totals<K, V>(spec: MapSpec<K, V>, add: (sum: V, value: V) => V): Promise<[K, V][]> {
    const map = PerCpuMap.openPinned(this.#native, this.#path(spec.name), spec);
    try {
      return await map.totals(add);
    } finally {
      map.close();
    }
  }

  /** Elements of one array map by index. */
  lookups<K, V>(spec: MapSpec<K, V>, keys: readonly K[]): (V | undefined)[] {
    const map = BpfMap.openPinned(this.#native, this.#path(spec.name), spec);
    try {
      return keys.map((key) => map.get(key));
    } finally {
      map.close();
    }
  }

  async inner<K, IK, IV>(spec: OuterMapSpec<K, IK, IV>, key: K): Promise<[IK, IV][]> {
    const outer = OuterMap.openPinned(this.#native, this.#path(spec.name), spec);
    try {
      const inner = outer.openInner(key);
      if (!inner) return [];
      try {
        return await inner.entries();
      } finally {
        inner.close();
      }
    } finally {
      outer.close();
    }
  }
}

/** What a dump prints: a table, and a value for `-o`. */
export interface Dump {
  readonly rows: readonly (readonly string[])[];
  readonly value: unknown;
}

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
