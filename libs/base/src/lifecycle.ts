// SPDX-License-Identifier: Apache-2.0

export interface Stoppable {
  stop(): void | Promise<void>;
}

/** Stops what was started, last first; a failing stop does not keep the others from stopping. */
export class Lifecycle implements Stoppable {
  readonly #stoppers: (() => void | Promise<void>)[] = [];

  add<T extends Stoppable>(part: T): T {
    this.#stoppers.push(() => part.stop());
    return part;
  }

  onStop(stop: () => void | Promise<void>): void {
    this.#stoppers.push(stop);
  }

  async stop(): Promise<void> {
    const errors: unknown[] = [];
    for (let stop = this.#stoppers.pop(); stop; stop = this.#stoppers.pop()) {
      try {
        await stop();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'errors while stopping');
  }
}
