// SPDX-License-Identifier: Apache-2.0
// Tested: the house rules outside ESLint. How: one made-up file that breaks each rule, and one that keeps all.
import { describe, expect, test } from '@jest/globals';
import { houseProblems } from './house.ts';

const SPDX = '// SPDX-License-Identifier: Apache-2.0\n';
const rulesOf = (...files: { file: string; text: string }[]): string[] =>
  houseProblems(files).map(({ rule }) => rule);

describe('house rules', () => {
  test('a tidy file passes', () => {
    expect(
      rulesOf({ file: 'libs/net/src/prefix.ts', text: `${SPDX}import { a } from './address.ts';\n` }),
    ).toEqual([]);
  });
  test('a name that says nothing is refused', () => {
    expect(rulesOf({ file: 'libs/net/src/utils.ts', text: SPDX })).toEqual(['name']);
    expect(rulesOf({ file: 'apps/agent/src/helpers/x.ts', text: SPDX })).toEqual(['name']);
  });
  test('a file without licence line is refused', () => {
    expect(rulesOf({ file: 'libs/net/src/prefix.ts', text: 'export const x = 1;\n' })).toEqual(['licence']);
  });
  test('a C file of more than 600 lines is refused', () => {
    expect(rulesOf({ file: 'bpf/lib/lb.h', text: SPDX + '\n'.repeat(700) })).toEqual(['size']);
  });
  test('one folder of the agent does not import another', () => {
    const text = `${SPDX}import { x } from '../loadbalancer/x.ts';\n`;
    expect(rulesOf({ file: 'apps/agent/src/policy/y.ts', text })).toEqual(['agent-wall']);
    expect(
      rulesOf({
        file: 'apps/agent/src/assemble.ts',
        text: `${SPDX}import { x } from './loadbalancer/x.ts';\n`,
      }),
    ).toEqual([]);
  });
  test('an import cycle of files is refused', () => {
    const a = { file: 'libs/net/src/a.ts', text: `${SPDX}import { b } from './b.ts';\n` };
    const b = { file: 'libs/net/src/b.ts', text: `${SPDX}import { a } from './a.ts';\n` };
    expect(rulesOf(a, b)).toEqual(['cycle']);
  });
});
