// SPDX-License-Identifier: Apache-2.0
import type { Native } from '@cilium-ts/native';

const EVERY_MS = 10_000;

/**
 * Gives freed memory of the C side back to the kernel: loading programs leaves ~9 MiB of holes behind, bursts of events
 * more, and the C library keeps what lies below a block in use.
 */
export class MemoryTrim {
  readonly #native: Native;
  readonly #timer: NodeJS.Timeout;

  constructor(native: Native) {
    this.#native = native;
    this.#timer = setInterval(() => this.trim(), EVERY_MS);
    this.#timer.unref();
  }

  trim(): void {
    void this.#native.memoryTrimAsync({});
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
