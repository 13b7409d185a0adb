// SPDX-License-Identifier: Apache-2.0
import type { TestRun } from './test-run.ts';

/** Jest's global end of the kernel tests. */
export default async function testRunDown(): Promise<void> {
  await (globalThis as { testRun?: TestRun }).testRun?.end();
}
