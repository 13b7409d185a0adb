// SPDX-License-Identifier: Apache-2.0
// Specification, compiled rule set and real programs against each other, with shrinking and a report that can be read
// without the program.
import { stringify } from 'yaml';
import { Random } from '../random.ts';
import { shrink } from '../shrink.ts';
import { compiledAnswer, disagreement, isolationDisagreement } from './compare.ts';
import { compile, InvalidCase } from './compiled.ts';
import { policyCase, type Features, type PolicyCase } from './generate.ts';
import { PROBES_AT_ONCE, type KernelBed, type Trial } from './kernel.ts';
import { ALL_PROBES, formatProbe, kernelProbes, someProbes, type Probe } from './probe.ts';
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

/** The same for the programs; each line ends with what the compiled rule set says. @throws InvalidCase */
export async function kernelDisagreements(
  each: PolicyCase,
  bed: KernelBed,
  probes: readonly Probe[],
): Promise<string[]> {
  const trial = { setting: each.setting, compiled: compile(each), probes };
  const [answers] = await bed.answer([trial]);
  return compareTrial(each, trial, answers!);
}

function compareTrial(
  each: PolicyCase,
  { compiled, probes }: Trial,
  answers: Awaited<ReturnType<KernelBed['answer']>>[number],
): string[] {
  const judge = specify(each);
  return probes.flatMap((probe, index) => {
    const answer = answers[index]!;
    const model = compiledAnswer(compiled, probe);
    const line = disagreement(judge(probe), answer, probe, 'programs');
    if (line !== undefined) return [`${line}, compiled ${model.verdict}`];
    // Of several origins that the specification accepts the programs must name the one the map says.
    return answer.origin === model.origin ? [] : [`${formatProbe(probe)}: programs and model blame others`];
  });
}

/** The smallest case that still fails, where an invalid one does not count. */
async function shrinkCase(
  each: PolicyCase,
  disagreements: (candidate: PolicyCase) => string[] | Promise<string[]>,
  tries?: number,
): Promise<string[]> {
  const named = new Map(each.objects.map(({ kind, metadata }) => [metadata.name, { kind, metadata }]));
  const fails = async (objects: PolicyCase['objects']): Promise<boolean> => {
    const intact = objects.every(({ kind, metadata }) => {
      const whole = named.get(metadata?.name);
      return whole && kind === whole.kind && metadata.namespace === whole.metadata.namespace;
    });
    if (!intact) return false;
    try {
      return (await disagreements({ ...each, objects })).length > 0;
    } catch {
      return false;
    }
  };
  const small = { ...each, objects: await shrink(each.objects, fails, tries) };
  return [...(await disagreements(small)).slice(0, 6), JSON.stringify(small.setting), yaml(small)];
}

function yaml({ objects }: PolicyCase): string {
  return objects.map((object) => stringify(object)).join('---\n');
}

function report(seed: number, lines: readonly string[]): string {
  return [`seed ${seed}`, ...lines].join('\n');
}

/** Runs one seed against the compiled rule set; undefined where all agree, otherwise the report. */
export async function fuzzModel(
  seed: number,
  features: Features,
  probes: readonly Probe[] = ALL_PROBES,
): Promise<string | undefined> {
  const each = policyCase(new Random(seed), features);
  try {
    if (modelDisagreements(each, probes).length === 0) return undefined;
  } catch (error) {
    if (!(error instanceof InvalidCase)) throw error;
    return report(seed, [`invalid: ${error.message}`, yaml(each)]);
  }
  return report(seed, await shrinkCase(each, modelDisagreements));
}

/** A new map of maps costs the kernel a grace period, and so does each try. */
const KERNEL_TRIES = 300;
const ENOUGH = 2;

export interface KernelRun {
  readonly firstSeed: number;
  readonly cases: number;
  readonly flowsEach: number;
  readonly features: Features;
}

/** Runs cases through programs with and without the local host let in; returns the reports of the first seeds that fail. */
export async function fuzzKernel(
  beds: { readonly letIn: KernelBed; readonly asked: KernelBed },
  { firstSeed, cases, flowsEach, features }: KernelRun,
): Promise<string[]> {
  const reports: string[] = [];
  const atOnce = Math.max(1, Math.min(128, Math.floor(PROBES_AT_ONCE / flowsEach)));
  for (let done = 0; done < cases; done += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, cases - done) }, (_, index) =>
      prepare(firstSeed + done + index, flowsEach, features),
    );
    for (const [bed, allowLocalhost] of [
      [beds.letIn, true],
      [beds.asked, false],
    ] as const) {
      const mine = batch.filter(({ each }) => each.setting.allowLocalhost === allowLocalhost);
      if (mine.length === 0) continue;
      const answers = await bed.answer(mine.map(({ trial }) => trial));
      for (const [index, { seed, each, trial }] of mine.entries()) {
        if (compareTrial(each, trial, answers[index]!).length === 0) continue;
        const again = (candidate: PolicyCase): Promise<string[]> =>
          kernelDisagreements(candidate, bed, trial.probes);
        const lines = await shrinkCase(each, again, KERNEL_TRIES);
        reports.push(report(seed, lines));
        if (reports.length >= ENOUGH) return reports;
      }
    }
  }
  return reports;
}

/** A case with questions that its programs can be asked. @throws Error where an object is not valid */
export function prepare(
  seed: number,
  flows: number,
  features: Features,
): { seed: number; each: PolicyCase; trial: Trial } {
  const random = new Random(seed);
  const each = policyCase(random, features);
  const probes = someProbes(random, flows, kernelProbes(each.setting));
  try {
    return { seed, each, trial: { setting: each.setting, compiled: compile(each), probes } };
  } catch (error) {
    throw new Error(report(seed, [String(error), yaml(each)]), { cause: error });
  }
}
