// SPDX-License-Identifier: Apache-2.0
import { runProbe, type Probe, type ProbeTarget } from './probe.ts';

export interface ProberOptions {
  readonly probe: Probe;
  readonly target: ProbeTarget;
  /** Called when enough successes or failures in a row changed the verdict. */
  readonly onVerdict: (healthy: boolean) => void;
  /** Called for each failure that counts. */
  readonly onFailure: (message: string) => void;
  /** Until the first success look more often than the period asks, so that pods are ready at once. */
  readonly eager: boolean;
}

const FIRST_WAIT_MS = 60;

/** Repeats one probe of one running container. */
export class Prober {
  readonly #options: ProberOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #verdict: boolean | undefined;
  #inRow = 0;
  #wait = FIRST_WAIT_MS;
  #nextCounted = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
    const delayMs = (options.probe.initialDelaySeconds ?? 0) * 1000;
    this.#nextCounted = performance.now() + delayMs;
    this.#timer = setTimeout(() => void this.#look(), delayMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const started = performance.now();
    const { probe, target, eager, onFailure } = this.#options;
    const problem = await runProbe(probe, target);
    if (this.#stopped) return;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    const healthy = problem === undefined;
    const counted = healthy || started + 1 >= this.#nextCounted;
    if (counted) {
      this.#nextCounted = started + periodMs;
      if (!healthy) onFailure(problem);
      this.#count(healthy);
    }
    if (this.#stopped) return;
    const warmingUp = eager && this.#verdict !== true;
    if (warmingUp) this.#wait = Math.min(this.#wait * 1.5, periodMs);
    const wait = warmingUp ? this.#wait : periodMs;
    this.#timer = setTimeout(() => void this.#look(), wait);
  }

  #count(healthy: boolean): void {
    const { probe, onVerdict } = this.#options;
    this.#inRow = healthy ? Math.max(this.#inRow, 0) + 1 : Math.min(this.#inRow, 0) - 1;
    const enough = healthy
      ? this.#inRow >= (probe.successThreshold ?? 1)
      : -this.#inRow >= (probe.failureThreshold ?? 3);
    if (!enough || this.#verdict === healthy) return;
    this.#verdict = healthy;
    onVerdict(healthy);
  }
}
