// SPDX-License-Identifier: Apache-2.0

/** What every failed call of the add-on throws or rejects with. */
export interface SystemError extends Error {
  /** Name of the errno, such as `ENOENT`. */
  readonly code: string;
  readonly errno: number;
  /** System call and command, such as `bpf(BPF_MAP_CREATE)`. */
  readonly syscall: string;
  /** Map, program, device or path concerned. */
  readonly subject: string;
  /** Last lines of the verifier or of libbpf. */
  readonly log?: string;
}

/** Whether an error came from a system call of the add-on, and, where codes are given, with one of them. */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is SystemError {
  // Not instanceof: the error may come from another JavaScript realm.
  if (typeof error !== 'object' || error === null || !('syscall' in error) || !('code' in error))
    return false;
  return codes.length === 0 || codes.includes(String(error.code));
}
