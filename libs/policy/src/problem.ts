// SPDX-License-Identifier: Apache-2.0

/** Something wrong in an object a user wrote; `path` leads to it, as in `spec.egress[0].toPorts[0].ports[0].port`. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

export function formatProblem(problem: Problem): string {
  return `${problem.path}: ${problem.message}`;
}

/** Joins problems for a status message: all of the first few, then how many more. */
export function formatProblems(problems: readonly Problem[], limit = 5): string {
  const shown = problems.slice(0, limit).map(formatProblem).join('; ');
  return problems.length > limit ? `${shown}; and ${problems.length - limit} more` : shown;
}

/** Reads untrusted JSON and collects every problem instead of stopping at the first. */
export class Reader {
  readonly problems: Problem[] = [];

  fail(path: string, message: string): void {
    this.problems.push({ path, message });
  }

  /** An object with known fields only: a misspelt field must not silently widen a rule. Null counts as absent. */
  object(value: unknown, path: string, known: readonly string[]): Record<string, unknown> | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) {
      this.fail(path, `must be an object, not ${kindOf(value)}`);
      return undefined;
    }
    const object = value as Record<string, unknown>;
    for (const key of Object.keys(object)) {
      if (!known.includes(key)) this.fail(`${path}.${key}`, `unknown field; known here: ${known.join(', ')}`);
    }
    return object;
  }

  list(value: unknown, path: string): unknown[] | undefined {
    if (value === undefined || value === null) return undefined;
    if (Array.isArray(value)) return value;
    this.fail(path, `must be a list, not ${kindOf(value)}`);
    return undefined;
  }

  text(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'string') return value;
    this.fail(path, `must be a string, not ${kindOf(value)}`);
    return undefined;
  }

  integer(value: unknown, path: string, min: number, max: number): number | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.fail(path, `must be an integer from ${min} to ${max}, not ${JSON.stringify(value)}`);
    return undefined;
  }

  flag(value: unknown, path: string): boolean | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'boolean') return value;
    this.fail(path, `must be true or false, not ${JSON.stringify(value)}`);
    return undefined;
  }
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
