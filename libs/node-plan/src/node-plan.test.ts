// SPDX-License-Identifier: Apache-2.0
// Gateways and routes of nodes, as values.
import { describe, expect, test } from '@jest/globals';
import { gatewayOf, planNodeRoutes } from './index.ts';

test('the gateway is the first address of the pod CIDR', () => {
  expect(gatewayOf('10.244.1.0/24')).toBe('10.244.1.1');
  expect(gatewayOf('fd00:10:244:1::/64')).toBe('fd00:10:244:1::1');
  expect(gatewayOf('apple')).toBeUndefined();
});

describe('planNodeRoutes', () => {
  const node = {
    internalIps: ['192.168.77.2', 'fd77::2'],
    podCidrs: ['10.244.2.0/24', 'fd00:10:244:2::/64'],
    local: false,
    outside: false,
  };

  test('goes by the address of the same family', () => {
    expect(planNodeRoutes(node, true)).toEqual([
      { kind: 'via', destination: '10.244.2.0/24', gateway: '192.168.77.2' },
      { kind: 'via', destination: 'fd00:10:244:2::/64', gateway: 'fd77::2' },
    ]);
    expect(planNodeRoutes({ ...node, internalIps: ['192.168.77.2'] }, true)).toHaveLength(1);
  });

  test('makes the node’s own free addresses unreachable', () => {
    expect(planNodeRoutes({ ...node, local: true }, false).map((route) => route.kind)).toEqual([
      'unreachable',
      'unreachable',
    ]);
  });

  test('knows no way to outside hosts, nor anywhere when direct routes are off', () => {
    expect(planNodeRoutes({ ...node, outside: true }, true)).toEqual([]);
    expect(planNodeRoutes(node, false)).toEqual([]);
  });
});
