// SPDX-License-Identifier: Apache-2.0
// Address and prefix to identity, from several sources; the source that knows best wins. Written to the two ipcache maps.
import type { IpcacheExactKey, IpcachePrefixKey, IpcacheValue } from '@cilium-ts/abi';
import { AppError, type Logger } from '@cilium-ts/base';
import type { BpfMap } from '@cilium-ts/bpf';
import { IDENTITY_WORLD } from '@cilium-ts/identity';
import { mappedPrefixLength, parsePrefix } from '@cilium-ts/net';
import { Reconciler, type ReconcilerStatus } from '@cilium-ts/tables';

/** From best to least: the node's own addresses, local pods, the API server, pods of the cluster, nodes, pod CIDRs, policy's CIDRs. */
export const SOURCES = [
  'host',
  'local',
  'kube-apiserver',
  'custom-resource',
  'node',
  'pod-cidr',
  'generated',
] as const;
export type IpcacheSource = (typeof SOURCES)[number];

export interface IpcacheEntry {
  readonly identity: number;
  /** Address of the hosting node, or empty. */
  readonly node: string;
}

export interface IpcacheRow extends IpcacheEntry {
  readonly prefix: string;
  readonly source: IpcacheSource;
}

interface Row {
  readonly address: string;
  readonly prefixlen: number;
  readonly entry: IpcacheEntry;
}

export interface IpcacheMaps {
  readonly ipcacheExact: BpfMap<IpcacheExactKey, IpcacheValue>;
  readonly ipcache: BpfMap<IpcachePrefixKey, IpcacheValue>;
}

const EXACT = 128;
/**
 * In the map IPv4 addresses lie inside ::/0 and a few narrower prefixes of IPv6; a row of their own keeps what those say
 * away from them.
 */
const ALL_IPV4 = '0.0.0.0/0';
const WORLD: IpcacheEntry = { identity: IDENTITY_WORLD, node: '' };
const IDLE_TIMEOUT_MS = 5000;
const equal = (a: Row, b: Row): boolean =>
  a.entry.identity === b.entry.identity && a.entry.node === b.entry.node;
const value = ({ entry }: Row): IpcacheValue => ({ identity: entry.identity, flags: 0, node: entry.node });

/** In a full map rows that are there can still change: what a batch cannot do is done row by row. */
async function writeRows<K>(
  map: BpfMap<K, IpcacheValue>,
  rows: readonly (readonly [string, Row])[],
  keyOf: (row: Row) => K,
): Promise<ReadonlyMap<string, unknown>> {
  const errors = new Map<string, unknown>();
  try {
    await map.setMany(rows.map(([, row]) => [keyOf(row), value(row)]));
  } catch {
    for (const [name, row] of rows) {
      try {
        map.set(keyOf(row), value(row));
      } catch (error) {
        errors.set(name, error);
      }
    }
  }
  return errors;
}

export class Ipcache {
  /** Canonical prefix -> entries by source. */
  readonly #known = new Map<string, Map<IpcacheSource, IpcacheEntry>>();
  readonly #exact: Reconciler<Row>;
  readonly #prefixes: Reconciler<Row>;

  constructor(maps: IpcacheMaps, raiseEpoch: () => void, logger: Logger) {
    this.#exact = new Reconciler<Row>({
      name: 'ipcache',
      equal,
      logger,
      target: {
        update: (rows) => writeRows(maps.ipcacheExact, rows, ({ address }) => ({ addr: address })),
        delete: async (rows) => {
          await maps.ipcacheExact.deleteMany(rows.map(([, row]) => ({ addr: row.address })));
        },
        prune: async (wanted) => {
          const present = (await maps.ipcacheExact.entries()).map(([key]) => key);
          await maps.ipcacheExact.deleteMany(present.filter((key) => !wanted.has(`${key.addr}/${EXACT}`)));
        },
        settled: raiseEpoch,
      },
    });
    this.#prefixes = new Reconciler<Row>({
      name: 'ipcache-prefixes',
      equal,
      logger,
      target: {
        update: (rows) =>
          writeRows(maps.ipcache, rows, ({ prefixlen, address }) => ({ prefixlen, addr: address })),
        delete: async (rows) => {
          await maps.ipcache.deleteMany(
            rows.map(([, row]) => ({ prefixlen: row.prefixlen, addr: row.address })),
          );
        },
        prune: async (wanted) => {
          const present = (await maps.ipcache.entries()).map(([key]) => key);
          // No address at all and the base of ::/0 are the same bytes.
          const stale = present.filter(({ addr, prefixlen }) => !wanted.has(`${addr || '::'}/${prefixlen}`));
          await maps.ipcache.deleteMany(stale);
        },
        settled: raiseEpoch,
      },
    });
    this.#write(ALL_IPV4);
  }

  upsert(source: IpcacheSource, prefixText: string, entry: IpcacheEntry): void {
    const prefix = parsePrefix(prefixText);
    if (!prefix) return;
    const key = `${prefix.address}/${prefix.bits}`;
    let entries = this.#known.get(key);
    if (!entries) this.#known.set(key, (entries = new Map()));
    entries.set(source, entry);
    this.#write(key);
  }

  remove(source: IpcacheSource, prefixText: string): void {
    const prefix = parsePrefix(prefixText);
    if (!prefix) return;
    const key = `${prefix.address}/${prefix.bits}`;
    const entries = this.#known.get(key);
    if (!entries?.delete(source)) return;
    if (entries.size === 0) this.#known.delete(key);
    this.#write(key);
  }

  #write(key: string): void {
    const prefix = parsePrefix(key)!;
    const prefixlen = mappedPrefixLength(prefix.family, prefix.bits);
    const reconciler = prefixlen === EXACT ? this.#exact : this.#prefixes;
    const entries = this.#known.get(key);
    const best = entries && SOURCES.find((source) => entries.has(source));
    const name = `${prefix.address}/${prefixlen}`;
    const entry = best === undefined ? (key === ALL_IPV4 ? WORLD : undefined) : entries!.get(best)!;
    if (entry === undefined) reconciler.unset(name);
    else reconciler.set(name, { address: prefix.address, prefixlen, entry });
  }

  list(): IpcacheRow[] {
    return [...this.#known].map(([prefix, entries]) => {
      const source = SOURCES.find((candidate) => entries.has(candidate))!;
      return { prefix, source, ...entries.get(source)! };
    });
  }

  /** Identity of an address; longest prefix. Undefined: the world. */
  identityOf(address: string): number | undefined {
    const bits = address.includes(':') ? 128 : 32;
    for (let length = bits; length >= 0; length--) {
      const prefix = parsePrefix(`${address}/${length}`);
      const entries = prefix && this.#known.get(`${prefix.address}/${prefix.bits}`);
      const source = entries && SOURCES.find((candidate) => entries.has(candidate));
      if (source !== undefined) return entries!.get(source)!.identity;
    }
    return undefined;
  }

  /** After all sources delivered their first state. */
  prune(): void {
    this.#exact.prune();
    this.#prefixes.prune();
  }

  /** Resolves when the kernel has everything. @throws AppError `ipcache-behind` where it cannot be written */
  async whenIdle(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = this.status().find((status) => status.lastError !== undefined)?.lastError;
        reject(new AppError('ipcache-behind', `the ipcache could not be written: ${error ?? 'timeout'}`));
      }, IDLE_TIMEOUT_MS);
    });
    try {
      await Promise.race([Promise.all([this.#exact.whenIdle(), this.#prefixes.whenIdle()]), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  status(): ReconcilerStatus[] {
    return [this.#exact.status(), this.#prefixes.status()];
  }

  stop(): void {
    this.#exact.stop();
    this.#prefixes.stop();
  }
}
