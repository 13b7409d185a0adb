// SPDX-License-Identifier: Apache-2.0
// `npm start` on a machine where it ran before, to the demo's first allowed and first denied connection.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { benchRow, median, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { sandboxIsUp } from './cluster.ts';

const GIVE_UP_MS = 120_000;
const GOALS_S = new Map([
  [2, 5],
  [10, 12],
]);

/** Which of the two connections a progress line tells of. */
export function connectionOf(line: string): 'allowed' | 'denied' | undefined {
  return /^ *\d+\.\d+ s {2}(allowed|denied): frontend -> /.exec(line)?.[1] as
    'allowed' | 'denied' | undefined;
}

/** Seconds from calling npm to both connections; the sandbox is gone when this resolves. */
async function startOnce(nodes: number): Promise<number> {
  const started = performance.now();
  // A process group of its own: Ctrl-C reaches all of it, as from a terminal.
  const child = spawn('npm', ['start', '--', '--nodes', String(nodes)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const interrupt = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGINT');
  };
  const seen = new Set<string>();
  const output: string[] = [];
  const timer = setTimeout(interrupt, GIVE_UP_MS);
  let seconds: number | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    output.push(line);
    const connection = connectionOf(line);
    if (connection === undefined) return;
    seen.add(connection);
    if (seen.size < 2 || seconds !== undefined) return;
    seconds = (performance.now() - started) / 1000;
    interrupt();
  });
  await ended;
  clearTimeout(timer);
  if (seconds === undefined)
    throw new Error(`npm start ended without both connections:\n${output.slice(-10).join('\n')}`);
  return seconds;
}

async function run(options: BenchOptions): Promise<BenchRow[]> {
  if (await sandboxIsUp())
    throw new Error('a sandbox holds the machine; this bench starts its own: npm stop');
  if (!options.small) options.log(`first start, not counted: ${(await startOnce(2)).toFixed(2)} s`);
  const rows: BenchRow[] = [];
  for (const nodes of options.small ? [2] : [2, 10]) {
    const samples: number[] = [];
    for (let i = 0; i < (options.small ? 1 : 3); i++) {
      samples.push(await startOnce(nodes));
      options.log(`${nodes} nodes: ${samples.at(-1)!.toFixed(2)} s`);
    }
    rows.push(
      benchRow({
        case: `second npm start to first allowed and first denied connection, ${nodes} nodes`,
        unit: 's',
        ours: median(samples),
        better: 'lower',
        goal: GOALS_S.get(nodes)!,
      }),
    );
  }
  return rows;
}

export const start: Bench = {
  name: 'start',
  summary: 'second npm start to the first allowed and denied connection, 2 and 10 nodes',
  run,
};
