// SPDX-License-Identifier: Apache-2.0
// Tested: where the policy epoch starts and how it moves. How: on plain memory instead of the mapped one.
import { describe, expect, test } from '@jest/globals';
import { RuntimeConfigCodec } from '@cilium-ts/abi';
import { RuntimeMemory } from './epoch.ts';

describe('the policy epoch', () => {
  test('of a map made anew is not one that older marks carry', () => {
    const memory = new ArrayBuffer(RuntimeConfigCodec.size);
    const first = new RuntimeMemory(memory, 1000n);
    first.raiseEpoch();
    expect(first.epoch).toBe(1001n);
    expect(new RuntimeMemory(new ArrayBuffer(RuntimeConfigCodec.size), 5000n).epoch).toBe(5000n);
  });

  test('of a kept map goes on where it was', () => {
    const memory = new ArrayBuffer(RuntimeConfigCodec.size);
    new RuntimeMemory(memory, 1000n).raiseEpoch();
    expect(new RuntimeMemory(memory, 5000n).epoch).toBe(1001n);
  });
});
