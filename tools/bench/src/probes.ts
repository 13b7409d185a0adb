// SPDX-License-Identifier: Apache-2.0
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BenchPod } from './cluster.ts';

const TOOL = join(process.cwd(), 'dist', 'bench', 'probes');
const INTERVAL_US = 1000;
const PORT = 5301;
const PATIENCE_MS = 20_000;

export interface ProbePair {
  readonly from: BenchPod;
  readonly to: BenchPod;
}

interface Change {
  readonly arrives: boolean;
  /** CLOCK_MONOTONIC, as process.hrtime.bigint() */
  readonly at: bigint;
}

/** UDP packets every millisecond in every pair, from outside the pods' processes; knows when they begin and cease to arrive. */
export class Probes {
  readonly #child: ChildProcess;
  readonly #last: (Change | undefined)[];
  readonly #waiting = new Set<() => void>();
  #end: string | undefined;

  constructor(pairs: readonly ProbePair[]) {
    this.#last = pairs.map(() => undefined);
    const words = pairs.flatMap(({ from, to }) => [from.netns, to.netns, to.address, String(PORT)]);
    const child = spawn(TOOL, [String(INTERVAL_US), ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#read(line));
    child.once('exit', (code) => this.#stopped(`the prober ended with ${code}`));
    child.once('error', (error) => this.#stopped(error.message));
  }

  /** When the last pair came to `arrives`, in nanoseconds; rejects where that takes 20 s. */
  async until(arrives: boolean): Promise<bigint> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      if (this.#end !== undefined) throw new Error(this.#end);
      const last = this.#last.filter((change) => change?.arrives === arrives);
      if (last.length === this.#last.length)
        return last.reduce((latest, change) => (change!.at > latest ? change!.at : latest), 0n);
      const left = deadline - performance.now();
      if (left <= 0)
        throw new Error(`packets ${arrives ? 'do not arrive' : 'still arrive'} after ${PATIENCE_MS} ms`);
      await this.#change(left);
    }
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiting.add(done);
    });
  }

  #read(line: string): void {
    const [pair, state, at] = line.split(' ');
    this.#last[Number(pair)] = { arrives: state === '1', at: BigInt(at ?? '0') };
    for (const wake of [...this.#waiting]) wake();
  }

  #stopped(why: string): void {
    this.#end ??= why;
    for (const wake of [...this.#waiting]) wake();
  }
}
