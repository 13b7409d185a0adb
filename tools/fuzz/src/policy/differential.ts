// SPDX-License-Identifier: Apache-2.0
// Specification against compiled rule set, with shrinking and a report that can be read without the program.
import { stringify } from 'yaml';
import { Random } from '../random.ts';
import { shrink } from '../shrink.ts';
import { compiledAnswer, disagreement, isolationDisagreement } from './compare.ts';
import { compile, InvalidCase } from './compiled.ts';
import { policyCase, type Features, type PolicyCase } from './generate.ts';
import { ALL_PROBES, type Probe } from './probe.ts';
import { specify } from './specified.ts';

/** Lines of disagreement between specification and compiled rule set. @throws InvalidCase */
export function modelDisagreements(each: PolicyCase, probes: readonly Probe[] = ALL_PROBES): string[] {
  const compiled = compile(each);
  const judge = specify(each);
  return probes.flatMap((probe) => {
    const specified = judge(probe);
    const line =
      disagreement(specified, compiledAnswer(compiled, probe), probe, 'compiled') ??
      isolationDisagreement(specified, compiled, probe);
    return line === undefined ? [] : [line];
  });
}

/** The smallest case that still fails, where an invalid one does not count. */
export function shrinkCase(each: PolicyCase, disagreements: (candidate: PolicyCase) => string[]): PolicyCase {
  const named = new Map(each.objects.map(({ kind, metadata }) => [metadata.name, { kind, metadata }]));
  const fails = (objects: PolicyCase['objects']): boolean => {
    const intact = objects.every(({ kind, metadata }) => {
      const whole = named.get(metadata?.name);
      return whole && kind === whole.kind && metadata.namespace === whole.metadata.namespace;
    });
    if (!intact) return false;
    try {
      return disagreements({ ...each, objects }).length > 0;
    } catch {
      return false;
    }
  };
  return { ...each, objects: shrink(each.objects, fails) };
}

/** Everything that is needed to see a failure again. */
export function report(seed: number, each: PolicyCase, lines: readonly string[]): string {
  const objects = each.objects.map((object) => stringify(object)).join('---\n');
  return [`seed ${seed}`, JSON.stringify(each.setting), ...lines.slice(0, 6), objects].join('\n');
}

/** Runs one seed against the compiled rule set; undefined where all agree, otherwise the report. */
export function fuzzModel(seed: number, features: Features): string | undefined {
  const each = policyCase(new Random(seed), features);
  let lines: string[];
  try {
    lines = modelDisagreements(each);
  } catch (error) {
    if (!(error instanceof InvalidCase)) throw error;
    return report(seed, each, [`invalid: ${error.message}`]);
  }
  if (lines.length === 0) return undefined;
  const small = shrinkCase(each, modelDisagreements);
  return report(seed, small, modelDisagreements(small));
}
