// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const SKIPPED = new Set(['node_modules', 'dist', 'fixtures']);

/** Knows which inputs changed since the last build, by path, size and modification time. */
export class Fingerprints {
  #file;
  #known;

  constructor(file) {
    this.#file = file;
    this.#known = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  }

  /** True where an input differs from the last build or an output is gone; remembered by save(). */
  changed(name, inputs, outputs) {
    const hash = createHash('sha256');
    for (const input of inputs) hashTree(hash, input);
    const digest = hash.digest('hex');
    const same = this.#known[name] === digest && outputs.every((output) => existsSync(output));
    this.#known[name] = digest;
    return !same;
  }

  save() {
    mkdirSync(path.dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, JSON.stringify(this.#known, undefined, 1));
  }
}

function hashTree(hash, file) {
  const stat = statSync(file);
  if (!stat.isDirectory()) {
    if (!/\.(test|e2e)\.ts$/.test(file)) hash.update(`${file} ${stat.size} ${stat.mtimeMs}\n`);
    return;
  }
  for (const name of readdirSync(file).sort()) if (!SKIPPED.has(name)) hashTree(hash, path.join(file, name));
}
