// SPDX-License-Identifier: Apache-2.0
// Tested: the CRD manifests. How: the committed chart files against what the schemas print, names as users type them.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { KINDS, crdFileName, crdManifest } from './index.ts';

const folder = join(process.cwd(), 'deploy/chart/crds');

describe('CRD manifests', () => {
  test.each(KINDS.map((kind) => [kind.kind, kind] as const))('the chart file of %s is current', (_, kind) => {
    const written: unknown = parse(readFileSync(join(folder, crdFileName(kind)), 'utf8'));
    expect(written).toEqual(JSON.parse(JSON.stringify(crdManifest(kind))));
  });

  test('the chart holds no other kinds than ours', () => {
    const files = readdirSync(folder);
    expect(files.sort()).toEqual(KINDS.map(crdFileName).sort());
  });

  test('short names are those that users type', () => {
    const names = Object.fromEntries(KINDS.map((kind) => [kind.kind, kind.shortNames]));
    expect(names).toEqual({
      CiliumNetworkPolicy: ['cnp', 'ciliumnp'],
      CiliumClusterwideNetworkPolicy: ['ccnp'],
      CiliumIdentity: ['ciliumid'],
      CiliumEndpoint: ['cep', 'ciliumep'],
      CiliumNode: ['cn', 'ciliumn'],
      CiliumCIDRGroup: ['ccg'],
      ClusterNetworkPolicy: [],
    });
  });
});
