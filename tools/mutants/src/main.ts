// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import type { Mutant } from './mutant.ts';
import { POLICY_MUTANTS } from './policy-mutants.ts';
import { Workshop, type Suite } from './workshop.ts';

const USAGE = 'npm run mutants -- policy [--only TEXT] [--list]';

/** Faults of one part of the product, and the tests that should find them. */
interface Target {
  readonly mutants: readonly Mutant[];
  readonly typescript: readonly Suite[];
  readonly bpf: readonly Suite[];
}

const TARGETS: Readonly<Record<string, Target>> = {
  policy: {
    mutants: POLICY_MUTANTS,
    typescript: [
      { project: 'unit', paths: ['libs/policy/', 'tools/fuzz', 'tools/bench/src/policy-compile'] },
      { project: 'kernel', paths: ['tools/fuzz'] },
    ],
    bpf: [
      { project: 'kernel', paths: ['tools/fuzz'] },
      { project: 'kernel', paths: ['apps/agent/src/datapath/packets'] },
    ],
  },
};

function tryOne(workshop: Workshop, mutant: Mutant, { typescript, bpf }: Target): string {
  try {
    return workshop.with(mutant, () => {
      const inBpf = mutant.file.startsWith('bpf/');
      const problem = inBpf ? workshop.buildBpf() : undefined;
      if (problem !== undefined) return `DOES NOT BUILD: ${problem}`;
      for (const suite of inBpf ? bpf : typescript) {
        const judgement = workshop.judge(suite);
        if (judgement === 'failed') return `killed by ${suite.project} ${suite.paths[0]}`;
        if (judgement !== 'passed') return judgement === 'timeout' ? 'TIMEOUT' : 'DOES NOT LOAD';
      }
      return 'SURVIVED';
    });
  } catch (error) {
    return `DOES NOT APPLY: ${(error as Error).message}`;
  }
}

function run(target: Target, mutants: readonly Mutant[]): number {
  const workshop = new Workshop(process.cwd());
  let killed = 0;
  try {
    for (const suite of [...target.typescript, ...target.bpf]) {
      const judgement = workshop.judge(suite);
      if (judgement !== 'passed')
        throw new Error(
          `${suite.project} ${suite.paths.join(' ')}: ${judgement} without any fault, so nothing can be said\n${workshop.failures()}`,
        );
    }
    for (const mutant of mutants) {
      const result = tryOne(workshop, mutant, target);
      if (result.startsWith('killed')) killed++;
      console.log(`${result.padEnd(44)} ${mutant.file}: ${mutant.name}`);
      if (mutant.file.startsWith('bpf/')) workshop.buildBpf();
    }
  } finally {
    workshop.remove();
  }
  console.log(`${killed}/${mutants.length}`);
  return killed === mutants.length ? 0 : 1;
}

function main(args: readonly string[]): number {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { only: { type: 'string' }, list: { type: 'boolean' } },
  });
  const target = positionals.length === 1 ? TARGETS[positionals[0]!] : undefined;
  if (!target) throw new Error(`allowed: ${Object.keys(TARGETS).join(', ')}\n${USAGE}`);
  const { only } = values;
  const mutants = target.mutants.filter(({ name }) => only === undefined || name.includes(only));
  if (mutants.length === 0) {
    const names = target.mutants.map(({ name }) => `  ${name}`).join('\n');
    throw new Error(`no fault has ${JSON.stringify(only)} in its name; there are\n${names}`);
  }
  if (!values.list) return run(target, mutants);
  for (const { file, name } of mutants) console.log(`${file}: ${name}`);
  return 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
