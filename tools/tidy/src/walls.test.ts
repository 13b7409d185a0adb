// SPDX-License-Identifier: Apache-2.0
// Tested: every wall that ESLint guards. How: each fixture names the place it pretends to stand in and the rule it
// breaks; linting it there must report that rule, and the same file without its bad line must not.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const folder = path.resolve('tools/tidy/fixtures/walls');
const fixtures = readdirSync(folder).map((name) => {
  const text = readFileSync(path.join(folder, name), 'utf8');
  const [, at, rule] = /^\/\/ at: (\S+) breaks: (\S+)/.exec(text) ?? [];
  if (!at || !rule) throw new Error(`${name}: first line must be "// at: FILE breaks: RULE"`);
  return { name, at, rule, text };
});

interface Report {
  readonly ruleId: string | null;
  readonly message: string;
}

function lint(text: string, file: string): Report[] {
  const node = path.resolve('node_modules/.bin/node');
  const eslint = path.resolve('node_modules/eslint/bin/eslint.js');
  try {
    execFileSync(node, [eslint, '--stdin', '--stdin-filename', file, '--format', 'json'], {
      input: text,
      stdio: 'pipe',
    });
    return [];
  } catch (error) {
    const stdout = String((error as { stdout: Buffer }).stdout);
    return (JSON.parse(stdout) as { messages: Report[] }[])[0]!.messages;
  }
}

describe('walls', () => {
  beforeAll(() => {
    // The boundaries rule reads nx's project graph; without it, it would pass everything.
    execFileSync(path.resolve('node_modules/.bin/nx'), ['show', 'projects'], {
      stdio: 'pipe',
      env: { ...process.env, NX_DAEMON: 'false' },
    });
  }, 60_000);

  test.each(fixtures)(
    '$name is refused by $rule',
    ({ at, rule, text }) => {
      expect(lint(text, at).map(({ ruleId }) => ruleId)).toContain(rule);
      const harmless = text
        .split('\n')
        .filter((line) => !line.includes('// bad'))
        .join('\n');
      expect(lint(harmless, at)).toEqual([]);
    },
    60_000,
  );
});
