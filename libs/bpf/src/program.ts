// SPDX-License-Identifier: Apache-2.0
import type { Fd, Native, ProgramInfo, TestRunOptions, TestRunResult } from '@cilium-ts/native';

/** A loaded program. */
export class BpfProgram {
  readonly fd: Fd;
  readonly name: string;
  readonly #native: Native;

  /** Takes over the descriptor. */
  constructor(native: Native, fd: Fd, name: string) {
    this.#native = native;
    this.fd = fd;
    this.name = name;
  }

  static openPinned(native: Native, path: string): BpfProgram {
    const fd = native.bpfGet({ path });
    return new BpfProgram(native, fd, native.programInfo({ fd }).name);
  }

  info(): ProgramInfo {
    return this.#native.programInfo({ fd: this.fd });
  }

  /** Runs it on a packet that nobody sends (BPF_PROG_TEST_RUN), at once; blocks for `repeat` runs. */
  testRun(options: Omit<TestRunOptions, 'fd'>): TestRunResult {
    return this.#native.programTestRun({ ...options, fd: this.fd });
  }

  testRunAsync(options: Omit<TestRunOptions, 'fd'>): Promise<TestRunResult> {
    return this.#native.programTestRunAsync({ ...options, fd: this.fd });
  }

  pin(path: string): void {
    this.#native.bpfPin({ fd: this.fd, path });
  }

  /** Attached and pinned programs live on. */
  close(): void {
    this.#native.fdClose({ fd: this.fd });
  }
}
