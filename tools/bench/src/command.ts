// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import type { Bench } from './bench.ts';
import { formatReport, machineName, type BenchReport } from './report.ts';

export interface Output {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
}

function usage(benches: readonly Bench[]): string {
  const width = Math.max(...benches.map((bench) => bench.name.length));
  const list = benches.map((bench) => `  ${bench.name.padEnd(width)}  ${bench.summary}`);
  return ['usage: npm run bench -- NAME [--json] [--small] [--wait=SECONDS]', '', ...list].join('\n');
}

const WAIT = /^--wait=(\d{1,5})$/;

/** Runs `NAME [--json] [--small] [--wait=SECONDS]`; returns the exit code: 0 measured (goals met or not), 1 failed, 2 wrong arguments. */
export async function runCommand(
  argv: readonly string[],
  benches: readonly Bench[],
  output: Output,
): Promise<number> {
  const flags = argv.filter((word) => word.startsWith('--'));
  const [name, ...rest] = argv.filter((word) => !word.startsWith('--'));
  const unknown = flags.find((flag) => !WAIT.test(flag) && !['--json', '--small', '--help'].includes(flag));
  const bench = benches.find((candidate) => candidate.name === name);
  if (flags.includes('--help')) {
    output.out(usage(benches));
    return 0;
  }
  if (unknown !== undefined || !bench || rest.length > 0) {
    const problem = unknown ?? (bench ? rest[0] : name);
    if (problem !== undefined) output.error(`unknown argument ${problem}`);
    output.error(usage(benches));
    return 2;
  }
  try {
    const seconds = flags.map((flag) => WAIT.exec(flag)?.[1]).find((text) => text !== undefined);
    const wait = seconds === undefined ? {} : { waitSeconds: Number(seconds) };
    const rows = await bench.run({ small: flags.includes('--small'), log: output.error, ...wait });
    const report: BenchReport = {
      bench: bench.name,
      machine: machineName(),
      date: new Date().toISOString(),
      rows,
    };
    output.out(flags.includes('--json') ? JSON.stringify(report) : formatReport(report));
    return 0;
  } catch (error) {
    output.error(`${bench.name}: ${errorMessage(error)}`);
    return 1;
  }
}
