// SPDX-License-Identifier: Apache-2.0
// Tested: address and prefix text forms. How: fixed cases, and round trips over random bytes.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  bytesToAddress,
  formatPrefix,
  fromMappedBytes,
  mappedBytes,
  normalizeAddress,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixContainsAddress,
} from './index.ts';

describe('addresses', () => {
  test('every address survives its text form', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    );
    fc.assert(fc.property(bytes, (b) => expect(parseAddress(bytesToAddress(b))).toEqual(b)));
  });

  test.each([
    ['FD00:0:0::1', 'fd00::1'],
    ['::', '::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
    ['10.0.0.1', '10.0.0.1'],
  ])('%s is written %s', (text, canonical) => expect(normalizeAddress(text)).toBe(canonical));

  test.each([
    '',
    '10.0.0',
    '10.0.0.256',
    '01.2.3.4',
    'fd00:::1',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'g::',
  ])('%s is refused', (text) => expect(parseAddress(text)).toBeUndefined());

  test('the mapped form keeps the family', () => {
    for (const address of ['10.1.2.3', 'fd00::7'])
      expect(fromMappedBytes(mappedBytes(address))).toBe(address);
    expect(fromMappedBytes(new Uint8Array(16))).toBe('');
  });
});

describe('prefixes', () => {
  test('host bits are cleared and bare addresses are full length', () => {
    expect(formatPrefix(parsePrefix('10.1.2.3/16')!)).toBe('10.1.0.0/16');
    expect(formatPrefix(parsePrefix('fd00::1')!)).toBe('fd00::1/128');
  });

  test.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', 'fd00::/129', 'x/8'])('%s is refused', (text) =>
    expect(parsePrefix(text)).toBeUndefined(),
  );

  test('containment respects family and length', () => {
    expect(prefixContains(parsePrefix('10.0.0.0/8')!, parsePrefix('10.2.0.0/16')!)).toBe(true);
    expect(prefixContains(parsePrefix('10.2.0.0/16')!, parsePrefix('10.0.0.0/8')!)).toBe(false);
    expect(prefixContainsAddress(parsePrefix('0.0.0.0/0')!, 'fd00::1')).toBe(false);
  });
});
