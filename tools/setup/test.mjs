// SPDX-License-Identifier: Apache-2.0
// What `npm test` runs after the set-up: each part through nx, so that unchanged parts come from its cache
// where they depend on files alone, and a table of results at the end.
import { spawnSync } from 'node:child_process';

const PARTS = ['lint', 'typecheck', 'test-unit', 'test-kernel', 'test-sandbox'];
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const unknown = wanted.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; allowed: ${PARTS.join(' ')}`);
  process.exit(2);
}

const results = [];
for (const part of wanted.length > 0 ? wanted : PARTS) {
  const start = Date.now();
  console.log(`\n== ${part}`);
  const result = spawnSync('nx', ['run', `cilium-ts:${part}`, '--outputStyle=stream'], { stdio: 'inherit' });
  results.push({ part, ok: result.status === 0, seconds: (Date.now() - start) / 1000 });
}
console.log('');
for (const { part, ok, seconds } of results)
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${part.padEnd(14)} ${seconds.toFixed(1)} s`);
process.exit(results.every(({ ok }) => ok) ? 0 : 1);
