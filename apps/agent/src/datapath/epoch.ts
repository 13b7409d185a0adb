// SPDX-License-Identifier: Apache-2.0
import { RuntimeConfigOffsets } from '@cilium-ts/abi';

/** The memory of cilium_runtime, shared with the programs. */
export class RuntimeMemory {
  readonly #epoch: BigUint64Array;
  readonly #audit: Uint32Array;

  /**
   * A map made anew starts at the clock's milliseconds, not at 0: connections and decisions that are still pinned carry
   * marks of older epochs, and a mark that came up again would let them pass unasked.
   */
  constructor(memory: ArrayBuffer, freshEpoch = BigInt(Date.now())) {
    this.#epoch = new BigUint64Array(memory, RuntimeConfigOffsets.policyEpoch, 1);
    this.#audit = new Uint32Array(memory, RuntimeConfigOffsets.auditMode, 1);
    Atomics.compareExchange(this.#epoch, 0, 0n, freshEpoch);
  }

  get epoch(): bigint {
    return Atomics.load(this.#epoch, 0);
  }

  /** To be called after policy, identities or the ipcache were written: open flows ask policy again. */
  raiseEpoch(): void {
    Atomics.add(this.#epoch, 0, 1n);
  }

  set auditMode(on: boolean) {
    Atomics.store(this.#audit, 0, on ? 1 : 0);
  }
}
