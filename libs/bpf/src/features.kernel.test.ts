// SPDX-License-Identifier: Apache-2.0
// Tests the feature probe on the running kernel, and that features can be switched off.
// Everything probed is unloaded again.
import { existsSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { loadNative } from '@cilium-ts/native';
import { processResources } from '@cilium-ts/native/testing';
import { FEATURES, probeFeatures } from './index.ts';

const native = loadNative();

describe('probeFeatures', () => {
  it('answers for every feature and keeps nothing open', () => {
    probeFeatures(native);
    const before = processResources();
    const table = probeFeatures(native);
    expect(processResources()).toEqual(before);
    expect(Object.keys(table.features).sort()).toEqual([...FEATURES].sort());
    expect(table.has('btf')).toBe(existsSync('/sys/kernel/btf/vmlinux'));
    // What every supported kernel (6.1 and newer) has.
    for (const feature of [
      'ringbuf',
      'lpm-trie',
      'hash-of-maps',
      'redirect-peer',
      'redirect-neigh',
      'xdp',
    ] as const) {
      expect(table.explain(feature)).toBe(`kernel ${table.kernel} has ${feature}`);
    }
  });

  it('treats a feature that is switched off as missing and says so', () => {
    const table = probeFeatures(native, { disabled: ['tcx', 'xdp-native'] });
    expect(table.has('tcx')).toBe(false);
    expect(table.explain('tcx')).toBe(`kernel ${table.kernel} has no tcx (switched off by configuration)`);
    expect(table.has('ringbuf')).toBe(true);
  });
});
