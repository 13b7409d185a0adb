// SPDX-License-Identifier: Apache-2.0
import type { EngineState, PolicyRevision } from '@cilium-ts/policy';

export interface Published {
  readonly at: PolicyRevision;
  readonly state: EngineState;
}

/** The newest state that this compiler published as the leader, for many readers at their own pace. */
export class PublishedState {
  #now: Published | undefined;
  readonly #waiting = new Set<() => void>();

  /** Undefined while this compiler does not lead. */
  get now(): Published | undefined {
    return this.#now;
  }

  set(published: Published | undefined): void {
    this.#now = published;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of waiting) resume();
  }

  /** Resolves when `now` is not `known` any more, or when the signal aborts. */
  changedFrom(known: Published, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.#now !== known) return resolve();
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }
}
