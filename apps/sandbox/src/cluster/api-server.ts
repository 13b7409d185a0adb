// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { AppError } from '@cilium-ts/base';
import type { Artifacts, SandboxLayout } from './layout.ts';
import type { ClusterPlan } from './plan.ts';
import { startGuarded, waitForLine, type GuardedProcess } from './processes.ts';

export interface EmbeddedApiServer {
  readonly process: GuardedProcess;
  readonly kubeconfig: string;
}

/** Starts the embedded API server; it ends with us. @throws AppError `process` */
export async function startApiServer(
  artifacts: Artifacts,
  layout: SandboxLayout,
  plan: ClusterPlan,
  cgroup: string,
): Promise<EmbeddedApiServer> {
  if (!existsSync(artifacts.apiServer)) {
    throw new AppError('build', `${artifacts.apiServer} is missing: run npm run build`);
  }
  const dataDir = `${layout.stateDir}/apiserver`;
  const logFile = `${layout.stateDir}/apiserver.log`;
  const process_ = startGuarded(
    artifacts.runtime,
    cgroup,
    [
      process.execPath,
      artifacts.apiServer,
      '--data-dir',
      dataDir,
      '--advertise-address',
      plan.wire.ipv4,
      '--advertise-port',
      String(plan.apiPort),
      '--extra-san',
      plan.wire.ipv6,
    ],
    logFile,
  );
  await waitForLine(process_, /\n/, 'the API server', logFile);
  return { process: process_, kubeconfig: `${dataDir}/kubeconfig` };
}
