// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorMessage, type Logger } from '@cilium-ts/base';

/** A JSON file that is replaced as a whole; writes follow each other, only the newest value is written. */
export class StateFile<T> {
  readonly path: string;
  readonly #logger: Logger;
  #pending: T | undefined;
  #writing: Promise<void> | undefined;

  constructor(path: string, logger: Logger) {
    this.path = path;
    this.#logger = logger;
    mkdirSync(dirname(path), { recursive: true });
  }

  /** Undefined where there is none or it cannot be read (which is logged). */
  read(): T | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch {
      return undefined;
    }
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      this.#logger.warn(
        { path: this.path, error: errorMessage(error) },
        'state file is damaged, going on without it',
      );
      return undefined;
    }
  }

  write(value: T): Promise<void> {
    this.#pending = value;
    this.#writing ??= this.#drain();
    return this.#writing;
  }

  async #drain(): Promise<void> {
    // Several writes of one turn become one.
    await Promise.resolve();
    while (this.#pending !== undefined) {
      const value = this.#pending;
      this.#pending = undefined;
      try {
        await writeFile(`${this.path}.tmp`, JSON.stringify(value));
        await rename(`${this.path}.tmp`, this.path);
      } catch (error) {
        this.#logger.error({ path: this.path, error: errorMessage(error) }, 'cannot write state');
      }
    }
    this.#writing = undefined;
  }

  async remove(): Promise<void> {
    this.#pending = undefined;
    await this.#writing;
    await rm(this.path, { force: true });
  }
}
