// SPDX-License-Identifier: Apache-2.0
import type {
  ConfigModel,
  IdentityModel,
  IpModel,
  MapModel,
  MetricModel,
  NodeModel,
  StatusModel,
} from '@cilium-ts/agent-api';
import { AppError, errorMessage } from '@cilium-ts/base';
import { ask } from '../agent-client.ts';
import { metricRows } from '../metric-rows.ts';
import { printLine, printTable, printValue, type OutputOptions } from '../print.ts';

export const CLIENT_VERSION = '0.1.0';

export async function maps(options: OutputOptions & { readonly verbose?: boolean }): Promise<void> {
  const models = await ask<MapModel[]>('/map');
  if (await printValue(models, options)) return;
  const rows = models.map((map) => [
    map.name,
    String(map['num-entries']),
    '0',
    String(map['cache-enabled']),
    ...(options.verbose ? [String(map['max-entries'])] : []),
  ]);
  printTable([
    ['Name', 'Num entries', 'Num errors', 'Cache enabled', ...(options.verbose ? ['Max entries'] : [])],
    ...rows,
  ]);
}

export async function metrics(options: OutputOptions & { readonly matchPattern?: string }): Promise<void> {
  let pattern: RegExp;
  try {
    pattern = new RegExp(options.matchPattern ?? '');
  } catch (error) {
    throw new AppError('bad-usage', `metrics list: ${errorMessage(error)}`);
  }
  const models = (await ask<MetricModel[]>('/metrics')).filter((metric) => pattern.test(metric.name));
  if (await printValue(models, options)) return;
  printTable(metricRows(models));
}

export async function version(options: OutputOptions): Promise<void> {
  const client = { version: CLIENT_VERSION };
  let daemon: { version: string } | undefined;
  try {
    daemon = { version: (await ask<StatusModel>('/healthz', 2000)).version };
  } catch (error) {
    if (options.output === undefined) {
      printLine(`Client: ${CLIENT_VERSION}`);
      throw error;
    }
  }
  if (await printValue({ client, daemon }, options)) return;
  printLine(`Client: ${CLIENT_VERSION}`);
  printLine(`Daemon: ${daemon!.version}`);
}

export async function config(options: OutputOptions & { readonly all?: boolean }): Promise<void> {
  const model = await ask<ConfigModel>('/config');
  if (await printValue(model, options)) return;
  const mutable: Record<string, string> = {
    DropNotification: model.values['bpf-events-drop-enabled'] === 'true' ? 'Enabled' : 'Disabled',
    TraceNotification: model.values['bpf-events-trace-enabled'] === 'true' ? 'Enabled' : 'Disabled',
    PolicyVerdictNotification:
      model.values['bpf-events-policy-verdict-enabled'] === 'true' ? 'Enabled' : 'Disabled',
    PolicyAuditMode: model.values['policy-audit-mode'] === 'true' ? 'Enabled' : 'Disabled',
    PolicyEnforcement: model.values['policy-enforcement-mode'] ?? '',
    SourceIPVerification: model.values['enable-source-ip-verification'] === 'true' ? 'Enabled' : 'Disabled',
  };
  printLine('##### Read-write configurations #####');
  printTable(Object.entries(mutable).map(([name, value]) => [name, `: ${value}`]));
  if (!options.all) return;
  printLine('##### Read-only configurations #####');
  printTable(Object.entries(model.values).map(([name, value]) => [name, `: ${value}`]));
  for (const key of model.unknown) printLine(`unknown key: ${key}`);
  for (const warning of model.warnings) printLine(`warning: ${warning}`);
}

export async function configGet(name: string): Promise<void> {
  const plain = (text: string): string => text.replace(/[-_]/g, '').toLowerCase();
  const { values } = await ask<ConfigModel>('/config');
  const key = Object.keys(values).find((candidate) => plain(candidate) === plain(name));
  if (key === undefined) throw new AppError('no-key', `no configuration key ${name}`);
  printLine(values[key]!);
}

export async function ips(
  options: OutputOptions & { readonly verbose?: boolean; readonly numeric?: boolean },
): Promise<void> {
  const models = (await ask<IpModel[]>('/ip')).sort((a, b) => (a.cidr < b.cidr ? -1 : 1));
  if (await printValue(models, options)) return;
  const labels = new Map<number, readonly string[]>();
  if (!options.numeric) {
    for (const identity of await ask<IdentityModel[]>('/identity')) labels.set(identity.id, identity.labels);
  }
  const rows: string[][] = [['IP', 'IDENTITY', 'SOURCE', ...(options.verbose ? ['HOST'] : [])]];
  for (const { cidr, identity, hostIP, metadata } of models) {
    const [first = '', ...more] = labels.get(identity) ?? [String(identity)];
    rows.push([cidr, first, metadata.source, ...(options.verbose ? [hostIP] : [])]);
    for (const label of more) rows.push(['', label, '', ...(options.verbose ? [''] : [])]);
  }
  printTable(rows);
}

export async function nodes(options: OutputOptions): Promise<void> {
  const models = await ask<NodeModel[]>('/cluster/nodes');
  if (await printValue(models, options)) return;
  const rows = models.map(({ name, addresses, source, ...node }) => {
    const family = (list: readonly string[], isV6: boolean): string =>
      list.find((text) => text.includes(':') === isV6) ?? '';
    const cidrs = node['pod-cidrs'];
    return [
      name,
      family(addresses, false),
      family(cidrs, false),
      family(addresses, true),
      family(cidrs, true),
      source,
    ];
  });
  printTable([['Name', 'IPv4 Address', 'Endpoint CIDR', 'IPv6 Address', 'Endpoint CIDR', 'Source'], ...rows]);
}
