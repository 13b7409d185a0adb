// SPDX-License-Identifier: Apache-2.0
// Column layout and output formats of the command line tools, on plain values.
import { describe, expect, test } from '@jest/globals';
import { formatColumns, formatValue, jsonPath } from './index.ts';

describe('formatColumns', () => {
  test('pads every cell but the last and leaves no blanks at the end', () => {
    expect(
      formatColumns([
        ['ID', 'LABELS'],
        ['48211', 'k8s:app=a'],
        ['', 'k8s:b=c'],
        ['7', ''],
      ]),
    ).toBe('ID      LABELS\n48211   k8s:app=a\n        k8s:b=c\n7\n');
  });
});

describe('formatValue', () => {
  test('prints JSON, YAML and paths, refuses the rest by name', async () => {
    const value = { items: [{ name: 'a' }, { name: 'b' }], n: 1 };
    expect(await formatValue(value, 'json')).toContain('"n": 1');
    expect(await formatValue(value, 'yaml')).toContain('n: 1');
    expect(jsonPath(value, '{.items[*].name}')).toBe('a b');
    expect(jsonPath(value, '{.items[1].name}')).toBe('b');
    expect(jsonPath([value], '{[0].n}')).toBe('1');
    expect(jsonPath('x', '{}')).toBe('x');
    await expect(formatValue(value, 'wide')).rejects.toThrow('unknown output format "wide"');
  });
});
