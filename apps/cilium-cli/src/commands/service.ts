// SPDX-License-Identifier: Apache-2.0
import type { ServiceModel } from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { formatAddressPort } from '@cilium-ts/net';
import { ask } from '../agent-client.ts';
import { printTable, printValue, type OutputOptions } from '../print.ts';

export function serviceRows(services: readonly ServiceModel[]): string[][] {
  const rows = [['ID', 'Frontend', 'Service Type', 'Backend']];
  for (const { spec } of services) {
    const front = spec['frontend-address'];
    const backends = spec['backend-addresses'].map(
      ({ ip, port, protocol, state }, i) =>
        `${i + 1} => ${formatAddressPort(ip, port)}/${protocol} (${state})`,
    );
    const [first = '', ...more] = backends;
    const frontend = `${formatAddressPort(front.ip, front.port)}/${front.protocol}`;
    rows.push([String(spec.id), frontend, spec.flags.type, first]);
    for (const backend of more) rows.push(['', '', '', backend]);
  }
  return rows;
}

export async function list(options: OutputOptions): Promise<void> {
  const services = await ask<ServiceModel[]>('/service');
  if (await printValue(services, options)) return;
  printTable(serviceRows(services));
}

export async function get(id: string, options: OutputOptions): Promise<void> {
  if (!/^\d+$/.test(id)) throw new AppError('bad-usage', `service get: not a number: ${JSON.stringify(id)}`);
  const service = await ask<ServiceModel>(`/service/${id}`);
  if (await printValue(service, options)) return;
  printTable(serviceRows([service]));
}
