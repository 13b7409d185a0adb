// SPDX-License-Identifier: Apache-2.0
import { setTimeout as delay } from 'node:timers/promises';
import { AppError, errorMessage } from '@cilium-ts/base';

export interface WaitOptions {
  /** Milliseconds; default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds between looks; default 50. */
  readonly intervalMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks until `look` gives something truthy; its errors count as "not yet".
 * @throws AppError `timeout` naming `what` and the last error
 */
export async function waitFor<T>(
  what: string,
  look: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMs = 30_000, intervalMs = 50, signal } = options;
  const deadline = performance.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const value = await look();
      if (value) return value as NonNullable<Exclude<T, false>>;
    } catch (error) {
      last = `: ${errorMessage(error)}`;
    }
    if (performance.now() >= deadline) {
      throw new AppError('timeout', `waited ${timeoutMs} ms for ${what}${last}`);
    }
    await delay(intervalMs, undefined, signal ? { signal } : {});
  }
}
