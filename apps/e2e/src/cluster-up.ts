// SPDX-License-Identifier: Apache-2.0
import { sandbox } from './cluster.ts';

/** Jest's global set-up of the whole-cluster tests: one cluster for all of them. */
export default async function clusterUp(): Promise<void> {
  // For those who work on tests: E2E_REUSE=1 uses the sandbox that runs, and leaves it.
  if (process.env['E2E_REUSE']) return;
  const { code, stdout, stderr } = await sandbox('start', '--detach', '--outside', '1');
  if (code !== 0) throw new Error(`sandbox start: exit ${code}\n${stdout}${stderr}`);
}
