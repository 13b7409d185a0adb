// SPDX-License-Identifier: Apache-2.0
import type { EndpointHealthModel, EndpointModel } from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { ask, change } from '../agent-client.ts';
import { print, printLine, printTable, printValue, type OutputOptions } from '../print.ts';

function enforcement(endpoint: EndpointModel, direction: 'ingress' | 'egress'): string {
  const enabled = endpoint.status.policy.realized['policy-enabled'];
  const audit = enabled.startsWith('audit-');
  const which = enabled.replace('audit-', '');
  if (which !== 'both' && which !== direction) return 'Disabled';
  return audit ? 'Disabled (Audit)' : 'Enabled';
}

/** Rows of `endpoint list`: two header rows, one label per row. */
export function endpointRows(endpoints: readonly EndpointModel[], headers: boolean): string[][] {
  const rows: string[][] = [];
  if (headers) {
    rows.push(
      [
        'ENDPOINT',
        'POLICY (ingress)',
        'POLICY (egress)',
        'IDENTITY',
        'LABELS (source:key[=value])',
        'IPv6',
        'IPv4',
        'STATUS',
      ],
      ['', 'ENFORCEMENT', 'ENFORCEMENT', '', '', '', '', ''],
    );
  }
  for (const endpoint of endpoints) {
    const { identity, networking, state } = endpoint.status;
    const [first = '', ...more] = identity.labels;
    const { ipv4 = '', ipv6 = '' } = networking.addressing[0] ?? {};
    rows.push([
      String(endpoint.id),
      enforcement(endpoint, 'ingress'),
      enforcement(endpoint, 'egress'),
      String(identity.id),
      first,
      ipv6,
      ipv4,
      state,
    ]);
    for (const label of more) rows.push(['', '', '', '', label, '', '', '']);
  }
  return rows;
}

export async function list(options: OutputOptions & { readonly headers: boolean }): Promise<void> {
  const endpoints = await ask<EndpointModel[]>('/endpoint');
  if (await printValue(endpoints, options)) return;
  printTable(endpointRows(endpoints, options.headers));
}

export interface GetOptions extends OutputOptions {
  readonly labels?: readonly string[];
  readonly array?: boolean;
}

/**
 * One id gives one object with `policy` on top, as people type it; several, labels or --array give an array, as
 * scripts of the other program expect it.
 */
export async function get(ids: readonly string[], options: GetOptions): Promise<void> {
  const { labels } = options;
  if (ids.length === 0 && !labels) throw new AppError('bad-usage', 'endpoint get: give an id or --labels');
  const found = labels
    ? await ask<EndpointModel[]>(`/endpoint?labels=${encodeURIComponent(labels.join(','))}`)
    : await Promise.all(ids.map((id) => ask<EndpointModel>(`/endpoint/${encodeURIComponent(id)}`)));
  const array =
    options.array === true ||
    labels !== undefined ||
    ids.length !== 1 ||
    process.env['CILIUM_COMPAT_ARRAY'] === '1' ||
    options.output?.startsWith('jsonpath={[') === true;
  const value = array ? found : { ...found[0]!, policy: found[0]!.status.policy };
  if (await printValue(value, options)) return;
  print(`${JSON.stringify(value, null, 2)}\n`);
}

export async function health(id: string, options: OutputOptions): Promise<void> {
  const model = await ask<EndpointHealthModel>(`/endpoint/${encodeURIComponent(id)}/healthz`);
  if (await printValue(model, options)) return;
  printTable([
    ['Overall Health:', model.overallHealth],
    ['BPF Health:', model.bpf],
    ['Policy Health:', model.policy],
    ['Connected:', model.connected ? 'yes' : 'no'],
  ]);
}

export async function log(id: string, options: OutputOptions): Promise<void> {
  const lines = await ask<EndpointModel['status']['log']>(`/endpoint/${encodeURIComponent(id)}/log`);
  if (await printValue(lines, options)) return;
  const rows = lines.map((line) => [line.timestamp, line.code.toUpperCase(), line.state, line.message]);
  printTable([['Timestamp', 'Status', 'State', 'Message'], ...rows]);
  if (lines.length === 0) printLine('');
}

/** Without assignments: the options of an endpoint. With `Name=Value`: changes them first. */
export async function config(
  id: string,
  assignments: readonly string[],
  options: OutputOptions,
): Promise<void> {
  const path = `/endpoint/${encodeURIComponent(id)}`;
  const pairs = assignments.map((text): [string, string] => {
    const at = text.indexOf('=');
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
    throw new AppError('bad-usage', `endpoint config: ${JSON.stringify(text)} is not of the form Name=Value`);
  });
  const model =
    pairs.length === 0
      ? await ask<EndpointModel>(path)
      : await change<EndpointModel>(`${path}/config`, { options: Object.fromEntries(pairs) });
  const { options: values } = model.spec;
  if (await printValue(values, options)) return;
  printTable(Object.entries(values).map(([name, value]) => [name, `: ${value}`]));
}
