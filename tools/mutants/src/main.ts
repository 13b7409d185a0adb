// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import type { Mutant } from './mutant.ts';
import { POLICY_MUTANTS } from './policy-mutants.ts';
import { Workshop, type Suite } from './workshop.ts';

const USAGE = 'npm run mutants -- policy [--only TEXT] [--list]';

const TYPESCRIPT: readonly Suite[] = [
  { project: 'unit', paths: ['libs/policy/', 'tools/fuzz', 'tools/bench/src/policy-compile'] },
  { project: 'kernel', paths: ['tools/fuzz'] },
];
const BPF: readonly Suite[] = [
  { project: 'kernel', paths: ['tools/fuzz'] },
  { project: 'kernel', paths: ['apps/agent/src/datapath/packets'] },
];

function tryOne(workshop: Workshop, mutant: Mutant): string {
  return workshop.with(mutant, () => {
    const inBpf = mutant.file.startsWith('bpf/');
    const problem = inBpf ? workshop.buildBpf() : undefined;
    if (problem !== undefined) return `DOES NOT BUILD: ${problem}`;
    const found = (inBpf ? BPF : TYPESCRIPT).find((suite) => !workshop.passes(suite));
    return found ? `killed by ${found.project} ${found.paths[0]}` : 'SURVIVED';
  });
}

function run(mutants: readonly Mutant[]): number {
  const workshop = new Workshop(process.cwd());
  let killed = 0;
  try {
    const sound = [...TYPESCRIPT, ...BPF].every((suite) => workshop.passes(suite));
    if (!sound) throw new Error('the tests fail without any fault: nothing can be said');
    for (const mutant of mutants) {
      const result = tryOne(workshop, mutant);
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
  if (positionals.join() !== 'policy') throw new Error(`allowed: policy\n${USAGE}`);
  const mutants = POLICY_MUTANTS.filter(({ name }) => name.includes(values.only ?? ''));
  if (!values.list) return run(mutants);
  for (const { file, name } of mutants) console.log(`${file}: ${name}`);
  return 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
