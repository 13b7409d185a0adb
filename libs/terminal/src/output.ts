// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';

/** Exit codes of all our commands. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

const FORMATS = 'json, yaml, jsonpath=<expression>';

/** Text of a value in the format of `-o`. @throws AppError `bad-output` for an unknown format */
export async function formatValue(value: unknown, format: string): Promise<string> {
  if (format === 'json') return `${JSON.stringify(value, null, 2)}\n`;
  if (format === 'yaml') {
    const { stringify } = await import('yaml');
    return stringify(value);
  }
  if (format.startsWith('jsonpath=')) return `${jsonPath(value, format.slice('jsonpath='.length))}\n`;
  throw new AppError('bad-output', `unknown output format ${JSON.stringify(format)}: use ${FORMATS}`);
}

/** The part of JSONPath templates that scripts use: `{.a.b[0]}`, `{[0].x}`, `{.items[*].name}`, `{}`. */
export function jsonPath(value: unknown, template: string): string {
  const trimmed = template.replace(/^['"]|['"]$/g, '');
  if (!trimmed.includes('{')) return jsonPath(value, `{${trimmed}}`);
  return trimmed.replace(/\{([^}]*)\}/g, (_, path: string) => select([value], path).map(text).join(' '));
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function select(values: unknown[], path: string): unknown[] {
  const steps = path.match(/[^.[\]]+|\[[^\]]*\]/g) ?? [];
  let current = values;
  for (const step of steps) {
    if (step === '$' || step === '@') continue;
    const name = step.startsWith('[') ? step.slice(1, -1).replace(/^['"]|['"]$/g, '') : step;
    current = current.flatMap((value) => child(value, name));
  }
  return current;
}

function child(value: unknown, name: string): unknown[] {
  if (value === null || typeof value !== 'object') return [];
  if (name === '*') return Object.values(value);
  const found = Array.isArray(value) ? value.at(Number(name)) : (value as Record<string, unknown>)[name];
  return found === undefined ? [] : [found];
}
