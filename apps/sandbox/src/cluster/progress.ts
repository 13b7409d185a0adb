// SPDX-License-Identifier: Apache-2.0

/** One line per step with the time since the start, so that a slow step is seen as such. */
export class Progress {
  readonly #started: number;
  readonly #write: (line: string) => void;
  #muted = false;

  constructor(write: (line: string) => void, started: number = performance.now()) {
    this.#write = write;
    this.#started = started;
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  step(text: string): void {
    this.say(`${this.seconds.toFixed(2).padStart(6)} s  ${text}`);
  }

  /** Text without a time. */
  say(text: string): void {
    if (!this.#muted) this.#write(text);
  }

  /** Nothing more: what is still under way is of no interest. */
  mute(): void {
    this.#muted = true;
  }

  async during<T>(text: string, work: Promise<T>): Promise<T> {
    const value = await work;
    this.step(text);
    return value;
  }
}
