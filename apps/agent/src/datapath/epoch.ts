// SPDX-License-Identifier: Apache-2.0
import { RuntimeConfigOffsets } from '@cilium-ts/abi';

/** The memory of cilium_runtime, shared with the programs. */
export class RuntimeMemory {
  readonly #epoch: BigUint64Array;
  readonly #audit: Uint32Array;

  constructor(memory: ArrayBuffer) {
    this.#epoch = new BigUint64Array(memory, RuntimeConfigOffsets.policyEpoch, 1);
    this.#audit = new Uint32Array(memory, RuntimeConfigOffsets.auditMode, 1);
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
