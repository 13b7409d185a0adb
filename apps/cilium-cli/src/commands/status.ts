// SPDX-License-Identifier: Apache-2.0
import type { StatusModel } from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { ask } from '../agent-client.ts';
import { printLine, printTable, printValue, type OutputOptions } from '../print.ts';

export interface StatusOptions extends OutputOptions {
  readonly verbose?: boolean;
  readonly brief?: boolean;
  readonly allAddresses?: boolean;
  readonly allControllers?: boolean;
  readonly allNodes?: boolean;
  readonly allHealth?: boolean;
  readonly requireK8sConnectivity?: string | boolean;
  readonly timeout: string;
}

function timeoutMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  if (!match)
    throw new AppError('bad-usage', `status: --timeout ${JSON.stringify(text)} is no duration such as 5s`);
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[match[2] ?? 's']!;
}

/** What keeps the node from being healthy; empty where nothing does. */
export function unhealthy(status: StatusModel, needKubernetes: boolean): string[] {
  const problems: string[] = [];
  if (status.cilium.state !== 'Ok') problems.push(`cilium: ${status.cilium.msg}`);
  if (needKubernetes && status.kubernetes.state !== 'Ok')
    problems.push(`kubernetes: ${status.kubernetes.msg}`);
  return problems;
}

function cniText(cni: StatusModel['cni']): string {
  const file = cni['config-file'];
  if (file === '') return 'not written';
  return cni['config-present']
    ? `successfully wrote CNI configuration file to ${file}`
    : `CNI configuration file ${file} is not there`;
}

/** The page of `cilium status`; one item per line. */
export function statusRows(status: StatusModel): string[][] {
  const pending = status.controllers.filter((controller) => controller['consecutive-failures'] === 0).length;
  const pools = (family: number): string[] =>
    status.ipam.pools
      .filter((pool) => pool.family === family)
      .map((pool) => `IPv${family}: ${pool.allocated}/${pool.size} allocated from ${pool.cidr}`);
  const lb = status['kube-proxy-replacement'];
  const { ipv4, ipv6, cidrs, mode } = status.masquerading;
  const hubble = status.hubble;
  const share = ((100 * hubble['current-flows']) / Math.max(1, hubble['max-flows'])).toFixed(2);
  const hubbleText =
    hubble.state === 'Ok'
      ? `Ok   Current/Max Flows: ${hubble['current-flows']}/${hubble['max-flows']} (${share}%), ` +
        `Flows/s: ${hubble['flows-per-second'].toFixed(2)}   Metrics: ${hubble.metrics}`
      : hubble.state;
  const monitor = status['node-monitor'];
  return [
    ['KVStore:', 'Disabled'],
    ['Kubernetes:', `${status.kubernetes.state}   ${status.kubernetes.msg}`],
    ['KubeProxyReplacement:', `${lb.mode}   [${lb.devices.join(', ')}]`],
    ['Host firewall:', status['host-firewall']],
    ['SRv6:', 'Disabled'],
    ['CNI Chaining:', status.cni.chaining],
    ['CNI Config file:', cniText(status.cni)],
    ['Cilium:', `${status.cilium.state}   ${status.cilium.msg}`],
    ['Policy source:', `${status['policy-source'].state}   ${status['policy-source'].msg}`],
    [
      'Policy revision:',
      `${status.policy.revision}${status.policy.error === '' ? '' : `   ${status.policy.error}`}`,
    ],
    [
      'NodeMonitor:',
      `Listening for events on ${monitor.cpus} CPUs, ${monitor.events} events, ${monitor.lost} lost`,
    ],
    ['Cilium health daemon:', 'Disabled'],
    ['IPAM:', [...pools(4), ...pools(6)].join(', ')],
    ['ClusterMesh:', 'Disabled'],
    ['IPv4 BIG TCP:', 'Disabled'],
    ['IPv6 BIG TCP:', 'Disabled'],
    ['BandwidthManager:', 'Disabled'],
    ['Routing:', `Network: ${status.routing.mode}   Host: ${status.routing.host}`],
    ['Attach Mode:', status['attach-mode']],
    ['Device Mode:', 'veth'],
    ['XDP Acceleration:', lb['xdp-acceleration']],
    [
      'Masquerading:',
      ipv4 || ipv6
        ? `${mode}   [${lb.devices.map((device) => device.split(' ')[0]).join(', ')}]   ${cidrs.join(', ')} ` +
          `[IPv4: ${ipv4 ? 'Enabled' : 'Disabled'}, IPv6: ${ipv6 ? 'Enabled' : 'Disabled'}]`
        : 'Disabled',
    ],
    ['Controller Status:', `${pending}/${status.controllers.length} healthy`],
    ['Proxy Status:', 'No managed proxy redirect'],
    ['Global Identity Range:', `min ${status['identity-range'].min}, max ${status['identity-range'].max}`],
    ['Hubble:', hubbleText],
    ['Encryption:', 'Disabled'],
    ['Cluster health:', `${status.nodes.length} nodes known`],
    ['Modules Health:', `Stopped(0) Degraded(${status.controllers.length - pending}) OK(${pending})`],
  ];
}

function printControllers(status: StatusModel): void {
  printLine('Controllers:');
  const rows = status.controllers.map((controller) => [
    `  ${controller.name}`,
    `${controller.written}/${controller.wanted}`,
    String(controller.pending),
    String(controller['consecutive-failures']),
    controller['last-error'] || 'no error',
  ]);
  printTable([['  Name', 'Written', 'Pending', 'Count', 'Message'], ...rows]);
}

function printVerbose(status: StatusModel): void {
  const lb = status['kube-proxy-replacement'];
  printLine(`Kernel:   ${status['kernel-version']}, up ${status['uptime-seconds']} s`);
  printLine('KubeProxyReplacement Details:');
  printTable([
    ['  Status:', lb.mode],
    ['  Socket LB:', lb['socket-lb']],
    ['  Socket LB Coverage:', lb['socket-lb'] === 'Enabled' ? 'Full' : 'None'],
    ['  Devices:', lb.devices.join(', ')],
    ['  Mode:', 'SNAT'],
    ['  Backend Selection:', 'Random'],
    ['  Session Affinity:', 'Enabled'],
    ['  XDP Acceleration:', lb['xdp-acceleration']],
    ['  Services:', `ClusterIP: ${lb.services}`],
  ]);
  printLine('BPF Maps:   dynamic sizing: off');
  printTable([
    ['  Name', 'Size'],
    ...status['bpf-maps'].map(({ name, size }) => [`  ${name}`, String(size)]),
  ]);
  for (const line of status.fallbacks) printLine(`Fallback:   ${line}`);
  for (const name of status['replaced-maps'])
    printLine(`Map replaced at start, its state was lost:   ${name}`);
  const unknown = status['unknown-configuration-keys'];
  printLine(`Unknown configuration keys:   ${unknown.length === 0 ? 'none' : unknown.join(', ')}`);
  for (const line of status['configuration-warnings']) printLine(`Configuration:   ${line}`);
}

export async function status(options: StatusOptions): Promise<void> {
  const model = await ask<StatusModel>('/healthz', timeoutMs(options.timeout));
  const needKubernetes = String(options.requireK8sConnectivity ?? 'true') !== 'false';
  const problems = unhealthy(model, needKubernetes);
  if (options.brief) {
    printLine(problems.length === 0 ? 'OK' : `error in ${problems.join('; ')}`);
    process.exitCode = problems.length === 0 ? 0 : 1;
    return;
  }
  if (await printValue(model, options)) return;
  printTable(statusRows(model));
  if (options.verbose || options.allAddresses) {
    printLine('Allocated addresses:');
    for (const [address, owner] of Object.entries(model.ipam.allocations))
      printLine(`  ${address} (${owner.split(':')[0]})`);
  }
  if (options.verbose || options.allControllers) printControllers(model);
  if (options.verbose || options.allNodes || options.allHealth) {
    printLine('Nodes:');
    printTable(model.nodes.map(({ name, addresses }) => [`  ${name}`, addresses.join(', ')]));
  }
  if (options.verbose) printVerbose(model);
  if (problems.length > 0) process.exitCode = 1;
}
