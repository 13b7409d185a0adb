// SPDX-License-Identifier: Apache-2.0

/** Milliseconds. */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Exponential delays with jitter: between half and the whole of base * 2^n. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds to wait after one more failure. */
  next(): number {
    const delay = backoffDelay(this.#failures, this.#options);
    this.#failures++;
    return delay;
  }

  reset(): void {
    this.#failures = 0;
  }
}

export function backoffDelay(failures: number, options: BackoffOptions): number {
  const whole = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(failures, 30));
  return whole * (0.5 + Math.random() / 2);
}
