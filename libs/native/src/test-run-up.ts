// SPDX-License-Identifier: Apache-2.0
import { TestRun } from './test-run.ts';

/** Jest's global set-up of the kernel tests. */
export default async function testRunUp(): Promise<void> {
  (globalThis as { testRun?: TestRun }).testRun = await TestRun.start();
}
