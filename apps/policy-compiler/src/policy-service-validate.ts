// SPDX-License-Identifier: Apache-2.0
// Problems of policies as texts.
import type { EngineOptions, Problem } from '@cilium-ts/policy';
import { parsePolicyText, type TextPolicy } from '@cilium-ts/policy/text';
import type { CompilerProblem, ValidateResponse, ValidatedObject } from '@cilium-ts/proto';

export function validateText(text: string, { cluster, hostFirewall }: EngineOptions): ValidateResponse {
  const options = { cluster, hostFirewall: hostFirewall ?? false };
  const objects = parsePolicyText(text, options).map(validated);
  return { valid: objects.every(({ problems }) => problems.length === 0), objects };
}

function validated({ kind, namespace, name, result, lineOf }: TextPolicy): ValidatedObject {
  const placed = (problems: readonly Problem[]): CompilerProblem[] =>
    problems.map(({ path, message }) => ({ path, message, line: lineOf(path) }));
  const names = { kind, namespace: namespace ?? '', name, warnings: [] };
  return result.ok
    ? { ...names, problems: [], unenforced: placed(result.value.unenforced) }
    : { ...names, problems: placed(result.error), unenforced: [] };
}
