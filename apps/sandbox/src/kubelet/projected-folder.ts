// SPDX-License-Identifier: Apache-2.0
import {
  chmod,
  chown,
  mkdir,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
  readdir,
} from 'node:fs/promises';
import { dirname } from 'node:path';

export interface ProjectedFile {
  readonly content: Buffer;
  readonly mode: number;
}

/**
 * A folder whose files change all at once: they lie in a dated folder, `..data` points to it and each name is a link
 * through `..data`, as programs that watch ConfigMap volumes expect.
 */
export class ProjectedFolder {
  readonly #dir: string;
  readonly #group: number | undefined;
  #count = 0;
  #last = '';
  #writing: Promise<void> = Promise.resolve();

  constructor(dir: string, group?: number) {
    this.#dir = dir;
    this.#group = group;
  }

  /** Writes follow each other; equal content is not written again. */
  update(files: ReadonlyMap<string, ProjectedFile>): Promise<void> {
    const next = this.#writing.then(() => this.#write(files));
    this.#writing = next.catch(() => undefined);
    return next;
  }

  async #write(files: ReadonlyMap<string, ProjectedFile>): Promise<void> {
    const digest = JSON.stringify(
      [...files].map(([name, { content, mode }]) => [name, mode, content.toString('base64')]),
    );
    if (digest === this.#last) return;
    const dir = this.#dir;
    const dated = `..${new Date().toISOString().replace(/[-:T.]/g, '_')}${this.#count++}`;
    await mkdir(`${dir}/${dated}`, { recursive: true });
    for (const [name, { content, mode }] of files) {
      const path = `${dir}/${dated}/${name}`;
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { mode });
      await chmod(path, this.#group === undefined ? mode : mode | 0o040);
      if (this.#group !== undefined) await chown(path, 0, this.#group);
    }
    const before = await readlink(`${dir}/..data`).catch(() => undefined);
    await symlink(dated, `${dir}/..data_tmp`);
    await rename(`${dir}/..data_tmp`, `${dir}/..data`);
    await this.#linkNames(new Set([...files.keys()].map((name) => name.split('/')[0] ?? name)));
    if (before !== undefined) await rm(`${dir}/${before}`, { recursive: true, force: true });
    this.#last = digest;
  }

  async #linkNames(wanted: ReadonlySet<string>): Promise<void> {
    const present = new Set((await readdir(this.#dir)).filter((name) => !name.startsWith('..')));
    for (const name of wanted) {
      if (!present.has(name)) await symlink(`..data/${name}`, `${this.#dir}/${name}`);
    }
    for (const name of present) if (!wanted.has(name)) await unlink(`${this.#dir}/${name}`);
  }
}
