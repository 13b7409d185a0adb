// SPDX-License-Identifier: Apache-2.0
import { sandbox } from './cluster.ts';

export default async function clusterDown(): Promise<void> {
  if (process.env['E2E_REUSE']) return;
  const { code, stdout, stderr } = await sandbox('stop');
  if (code !== 0) throw new Error(`sandbox stop: exit ${code}\n${stdout}${stderr}`);
}
