// SPDX-License-Identifier: Apache-2.0
import { rmSync } from 'node:fs';
import { sandbox, START_REPORT } from './cluster.ts';

export default async function clusterDown(): Promise<void> {
  if (process.env['E2E_REUSE']) return;
  rmSync(START_REPORT, { force: true });
  const { code, stdout, stderr } = await sandbox('stop');
  if (code !== 0) throw new Error(`sandbox stop: exit ${code}\n${stdout}${stderr}`);
}
