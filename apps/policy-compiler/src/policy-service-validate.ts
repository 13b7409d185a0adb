// SPDX-License-Identifier: Apache-2.0
// Problems of policies as texts.
import {
  findConflicts,
  reviewPolicies,
  type EngineOptions,
  type Finding,
  type Problem,
} from '@cilium-ts/policy';
import { parsePolicyText, type TextPolicy } from '@cilium-ts/policy/text';
import type { CompilerProblem, ValidateResponse, ValidatedObject } from '@cilium-ts/proto';

export function validateText(text: string, { cluster, hostFirewall }: EngineOptions): ValidateResponse {
  const options = { cluster, hostFirewall: hostFirewall ?? false };
  const policies = parsePolicyText(text, options);
  const valid = policies.flatMap(({ result }) => (result.ok ? [result.value] : []));
  const [findings, conflicts] = [reviewPolicies(valid), findConflicts(valid)];
  const objects = policies.map((policy) => validated(policy, findings, conflicts));
  return { valid: objects.every(({ problems }) => problems.length === 0), objects };
}

function validated(
  { kind, namespace, name, result, lineOf }: TextPolicy,
  findings: readonly Finding[],
  conflicts: readonly Finding[],
): ValidatedObject {
  const placed = (problems: readonly Problem[]): CompilerProblem[] =>
    problems.map(({ path, message }) => ({ path, message, line: lineOf(path) }));
  const names = { kind, namespace: namespace ?? '', name };
  if (!result.ok) return { ...names, problems: placed(result.error), warnings: [], unenforced: [] };
  const { unenforced } = result.value;
  const told = new Set(unenforced.map(({ path }) => path));
  const warnings = findings.filter(({ policy, path }) => policy === result.value && !told.has(path));
  const problems = placed(conflicts.filter(({ policy }) => policy === result.value));
  return { ...names, problems, warnings: placed(warnings), unenforced: placed(unenforced) };
}
