// SPDX-License-Identifier: Apache-2.0
// Address pools of pod CIDRs: what is given out, what never is, claims after a restart, exhaustion.
import { describe, expect, test } from '@jest/globals';
import { AddressPool, Ipam } from './pool.ts';

describe('AddressPool', () => {
  test('never gives the network, gateway and broadcast addresses, and says when it is empty', () => {
    const pool = new AddressPool('10.0.0.0/29');
    const given = Array.from({ length: 5 }, (_, i) => pool.allocate(`pod${i}`));
    expect(given).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']);
    expect(() => pool.allocate('one-more')).toThrow('no free address in 10.0.0.0/29: 5 in use');
  });

  test('does not give a released address again at once', () => {
    const pool = new AddressPool('10.0.0.0/24');
    const first = pool.allocate('a');
    pool.release(first, 'a');
    expect(pool.allocate('b')).not.toBe(first);
  });

  test('crosses byte borders and works for IPv6', () => {
    const pool = new AddressPool('10.0.0.0/22');
    for (let i = 0; i < 300; i++) pool.allocate(`pod${i}`);
    expect(pool.allocate('x')).toBe('10.0.1.46');
    expect(new AddressPool('fd00:10:244:1::/64').allocate('a')).toBe('fd00:10:244:1::2');
  });

  test('refuses prefixes without room', () => {
    expect(() => new AddressPool('10.0.0.0/31')).toThrow('too small');
    expect(() => new AddressPool('apple')).toThrow('not a pod CIDR');
  });
});

test('a restored claim keeps its address from others', () => {
  const ipam = new Ipam(['10.0.0.0/29', 'fd00::/64']);
  expect(ipam.claim('10.0.0.2', 'old')).toBe(true);
  expect(ipam.claim('10.0.0.2', 'new')).toBe(false);
  expect(ipam.allocate('new')).toEqual({ ipv4: '10.0.0.3', ipv6: 'fd00::2' });
});
