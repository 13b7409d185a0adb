// SPDX-License-Identifier: Apache-2.0
// Tested: the arguments of `npm run fuzz`. How: parsed, and the errors read.
import { expect, test } from '@jest/globals';
import { parseCommand } from './command.ts';

const parse = (text: string) => parseCommand(text.split(' ').filter(Boolean), ['policy'], 7);

test('what is not given has defaults', () => {
  expect(parse('policy')).toEqual({ target: 'policy', minutes: 10, seed: 7 });
  expect(parse('policy --minutes 0.5 --seed 3')).toEqual({ target: 'policy', minutes: 0.5, seed: 3 });
});

test.each([
  ['', 'unknown target "";'],
  ['flows', 'unknown target "flows"; allowed: policy'],
  ['policy --minutes 0', '--minutes 0'],
  ['policy --seed x', '--seed x'],
  ['policy --sede 1', '--sede'],
])('`%s` is refused', (text, message) => expect(() => parse(text)).toThrow(message));
