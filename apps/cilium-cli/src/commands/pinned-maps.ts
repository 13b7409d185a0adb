// SPDX-License-Identifier: Apache-2.0
// The pinned maps, read straight from the kernel, and what a dump of one looks like.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '@cilium-ts/base';
import { BpfMap, OuterMap, PerCpuMap, type MapSpec, type OuterMapSpec } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import type { OutputOptions } from '../print.ts';

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
