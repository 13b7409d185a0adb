// SPDX-License-Identifier: Apache-2.0
// Removes expired connections and translations, in chunks, at an interval that follows how much there is to remove.
import type { CtEntry, CtKey, NatEntry, NatKey } from '@cilium-ts/abi';
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { BpfMap } from '@cilium-ts/bpf';

const INTERVAL_MIN_MS = 10_000;
const INTERVAL_MAX_MS = 600_000;
const PAGE = 1024;

interface Expiring<K, V extends { readonly expires: number }> {
  readonly map: BpfMap<K, V>;
}

export interface GcResult {
  readonly name: string;
  readonly alive: number;
  readonly removed: number;
}

/** Seconds of the clock that programs use. */
function nowSeconds(): number {
  return Number(process.hrtime.bigint() / 1_000_000_000n);
}

export class ConntrackGc {
  readonly #maps: { readonly ct: readonly BpfMap<CtKey, CtEntry>[]; readonly nat: BpfMap<NatKey, NatEntry> };
  readonly #fixedMs: number;
  readonly #logger: Logger;
  readonly #results = new Map<string, GcResult>();
  #intervalMs = 30_000;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #runs = 0;

  constructor(
    maps: { readonly ct: readonly BpfMap<CtKey, CtEntry>[]; readonly nat: BpfMap<NatKey, NatEntry> },
    fixedIntervalMs: number,
    logger: Logger,
  ) {
    this.#maps = maps;
    this.#fixedMs = fixedIntervalMs;
    this.#logger = logger;
  }

  start(): void {
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#tick(), this.#fixedMs || this.#intervalMs);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      await this.run();
    } catch (error) {
      this.#logger.warn({ error: errorMessage(error) }, 'collection of expired connections failed');
    }
    this.#schedule();
  }

  /** One pass over all tables. */
  async run(): Promise<readonly GcResult[]> {
    const results: GcResult[] = [];
    for (const map of this.#maps.ct) results.push(await this.#sweep({ map }));
    results.push(await this.#sweep({ map: this.#maps.nat }));
    for (const result of results) this.#results.set(result.name, result);
    this.#runs++;
    this.#adapt(results);
    return results;
  }

  async #sweep<K, V extends { readonly expires: number }>({ map }: Expiring<K, V>): Promise<GcResult> {
    let alive = 0;
    let removed = 0;
    for await (const page of map.pages(PAGE)) {
      const now = nowSeconds();
      const expired = page.filter(([, entry]) => entry.expires < now).map(([key]) => key);
      alive += page.length - expired.length;
      removed += await map.deleteMany(expired);
    }
    return { name: map.spec.name, alive, removed };
  }

  #adapt(results: readonly GcResult[]): void {
    const share = Math.max(0, ...results.map(({ alive, removed }) => removed / Math.max(1, alive + removed)));
    if (share > 0.25) this.#intervalMs = Math.max(INTERVAL_MIN_MS, this.#intervalMs * (1 - share));
    else if (share < 0.05) this.#intervalMs = Math.min(INTERVAL_MAX_MS, this.#intervalMs * 1.5);
  }

  results(): readonly GcResult[] {
    return [...this.#results.values()];
  }

  get runs(): number {
    return this.#runs;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
