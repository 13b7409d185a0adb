// SPDX-License-Identifier: Apache-2.0
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { AppError } from '@cilium-ts/base';
import type { SandboxLayout } from './layout.ts';
import { wireNetns } from './network.ts';
import type { ClusterPlan } from './plan.ts';
import { startGuarded, waitForLine, type GuardedProcess } from './processes.ts';

/**
 * Lets the nodes reach an API server wherever the machine itself can: connections to the wire's address go on from
 * the machine's own namespace.
 * @throws AppError
 */
export async function startRelay(
  runtime: string,
  layout: SandboxLayout,
  plan: ClusterPlan,
  cgroup: string,
  server: string,
): Promise<GuardedProcess> {
  const url = new URL(server);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port || (url.protocol === 'http:' ? '80' : '443');
  const address = isIP(host) ? host : await resolveHost(host);
  const logFile = `${layout.stateDir}/relay.log`;
  const listen = [plan.wire.ipv4, plan.wire.ipv6].flatMap((own) => [own, String(plan.apiPort)]);
  const relay = startGuarded(
    runtime,
    cgroup,
    [runtime, 'relay', `/run/netns/${wireNetns(layout)}`, address, port, ...listen],
    logFile,
  );
  await waitForLine(relay, /listening/, 'the relay to the API server', logFile);
  return relay;
}

async function resolveHost(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw new AppError(
      'bad-kubeconfig',
      `the API server's host ${host} does not resolve: ${(error as Error).message}`,
    );
  }
}
