// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs';
import { runBench, sandbox, START_REPORT } from './cluster.ts';

/**
 * Jest's global set-up of the whole-cluster tests: one cluster for all of them. The bench that starts clusters of its own has
 * its turn before that one holds the machine; its test reads what it printed.
 */
export default async function clusterUp(): Promise<void> {
  // For those who work on tests: E2E_REUSE=1 uses the sandbox that runs, and leaves it.
  if (process.env['E2E_REUSE']) return;
  writeFileSync(START_REPORT, JSON.stringify(await runBench('start')));
  const { code, stdout, stderr } = await sandbox('start', '--detach', '--outside', '1');
  if (code !== 0) throw new Error(`sandbox start: exit ${code}\n${stdout}${stderr}`);
}
