// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import { errorMessage } from '@cilium-ts/base';

/** Folds many requests for the same work into one run at a time; a request during a run causes one more run. */
export class Trigger {
  readonly #work: () => Promise<void> | void;
  readonly #options: { readonly delayMs?: number; readonly logger?: Logger; readonly name: string };
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  #stopped = false;

  constructor(
    options: { readonly delayMs?: number; readonly logger?: Logger; readonly name: string },
    work: () => Promise<void> | void,
  ) {
    this.#options = options;
    this.#work = work;
  }

  fire(): void {
    if (this.#stopped) return;
    if (this.#running) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#run(), this.#options.delayMs ?? 0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#running = true;
    try {
      await this.#work();
    } catch (error) {
      this.#options.logger?.error({ task: this.#options.name, error: errorMessage(error) }, 'task failed');
    }
    this.#running = false;
    if (this.#again) {
      this.#again = false;
      this.fire();
    }
  }
}
