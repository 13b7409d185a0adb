// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

// Bundle -> entry. One CommonJS file each: a bundle starts in a third of the time of unbundled files.
const ENTRIES = {
  agent: 'apps/agent/src/main.ts',
  operator: 'apps/operator/src/main.ts',
  'policy-compiler': 'apps/policy-compiler/src/main.ts',
  'hubble-relay': 'apps/hubble-relay/src/main.ts',
  'hubble-ui-backend': 'apps/hubble-ui-backend/src/main.ts',
  'cilium-cli': 'apps/cilium-cli/src/main.ts',
  'hubble-cli': 'apps/hubble-cli/src/main.ts',
  sandbox: 'apps/sandbox/src/main.ts',
  apiserver: 'apps/sandbox/src/apiserver/main.ts',
  'cluster-dns': 'apps/sandbox/src/dns/main.ts',
};

export async function bundleApps() {
  const entryPoints = Object.entries(ENTRIES)
    .filter(([, entry]) => existsSync(entry))
    .map(([out, entry]) => ({ in: entry, out }));
  const { metafile } = await build({
    entryPoints,
    outdir: 'dist/apps',
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    conditions: ['@cilium-ts/source'],
    mainFields: ['module', 'main'],
    sourcemap: 'linked',
    sourcesContent: false,
    keepNames: true,
    minifySyntax: true,
    // A process keeps its source: without indentation a third of it goes. Names stay, and lines short enough to be read.
    minifyWhitespace: true,
    lineLimit: 160,
    metafile: true,
    legalComments: 'none',
    logLevel: 'warning',
    // Optional speed-ups of `ws` and pretty printers nobody asks for.
    external: ['bufferutil', 'utf-8-validate', 'pino-pretty'],
  });
  for (const file of Object.keys(metafile.outputs)) if (file.endsWith('.cjs')) keepAscii(file);
}

/** One character beyond ASCII doubles what a source takes in memory; esbuild leaves those of regular expressions. */
function keepAscii(file) {
  const text = readFileSync(file, 'utf8');
  const escaped = text.replace(
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  if (escaped !== text) writeFileSync(file, escaped);
}
