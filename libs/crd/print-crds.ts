// SPDX-License-Identifier: Apache-2.0
// Writes the chart's CRD files; run from the repository root: node --conditions=@cilium-ts/source libs/crd/print-crds.ts
import { mkdirSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { KINDS } from './src/kinds.ts';
import { crdFileName, crdManifest } from './src/manifest.ts';

const folder = 'deploy/chart/crds';
mkdirSync(folder, { recursive: true });
for (const kind of KINDS) {
  writeFileSync(
    `${folder}/${crdFileName(kind)}`,
    stringify(crdManifest(kind), { aliasDuplicateObjects: false }),
  );
}
