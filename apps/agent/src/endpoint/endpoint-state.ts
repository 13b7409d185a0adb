// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '@cilium-ts/base';
import type { EndpointRow } from '../rows.ts';
import { StateFile } from '../state-file.ts';

/** One file per endpoint, so that a crash loses at most the newest change of one. */
export class EndpointStateFiles {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #files = new Map<number, StateFile<EndpointRow>>();

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#logger = logger;
    mkdirSync(directory, { recursive: true });
  }

  #file(id: number): StateFile<EndpointRow> {
    let file = this.#files.get(id);
    if (!file)
      this.#files.set(id, (file = new StateFile(join(this.#directory, `ep-${id}.json`), this.#logger)));
    return file;
  }

  write(row: EndpointRow): Promise<void> {
    return this.#file(row.id).write(row);
  }

  async remove(id: number): Promise<void> {
    await this.#file(id).remove();
    this.#files.delete(id);
  }

  readAll(): EndpointRow[] {
    const rows: EndpointRow[] = [];
    for (const name of readdirSync(this.#directory)) {
      const match = /^ep-(\d+)\.json$/.exec(name);
      const row = match && this.#file(Number(match[1])).read();
      if (row) rows.push(row);
    }
    return rows;
  }
}
