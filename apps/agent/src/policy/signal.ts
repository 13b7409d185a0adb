// SPDX-License-Identifier: Apache-2.0

/** Something that many wait for, again and again. */
export class Signal {
  readonly #waiting = new Set<() => void>();

  /** Wakes all who wait now. */
  wake(): void {
    for (const resume of [...this.#waiting]) resume();
  }

  /** Resolves at the next wake, or after `timeoutMs`. */
  next(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(resume);
        resolve();
      };
      const timer = setTimeout(resume, timeoutMs);
      this.#waiting.add(resume);
    });
  }
}
