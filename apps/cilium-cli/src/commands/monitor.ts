// SPDX-License-Identifier: Apache-2.0
import type { MonitorEventModel, StatusModel } from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { ask, follow } from '../agent-client.ts';
import { printLine } from '../print.ts';

export interface MonitorOptions {
  readonly type?: readonly string[];
  readonly from?: readonly string[];
  readonly to?: readonly string[];
  readonly relatedTo?: readonly string[];
  readonly json?: boolean;
}

const PAGE = 4096;
const TYPES = ['drop', 'trace', 'policy-verdict'];
/** Accepted, but nothing of these kinds happens in this version. */
const SILENT_TYPES = ['agent', 'capture', 'debug', 'l7', 'trace-sock'];

/** The line of one event. */
export function eventLine(event: MonitorEventModel): string {
  if (event.type === 'lost') return `xx ${event.count} events lost: this reader is too slow`;
  const identities = `identity ${event.srcLabel}->${event.dstLabel}`;
  const packet = event.summary.text;
  switch (event.type) {
    case 'drop': {
      const policy = event.policy === undefined ? '' : ` [${event.policy}]`;
      return (
        `xx drop (${event.reason}) flow ${event.mark} to endpoint ${event.dstID}, ifindex ${event.Ifindex}, ` +
        `file ${event.File}:${event.Line}, , ${identities}: ${packet}${policy}`
      );
    }
    case 'policy-verdict': {
      const remote = event.direction === 'ingress' ? event.srcLabel : event.dstLabel;
      return (
        `Policy verdict log: flow ${event.mark} local EP ID ${event.source}, remote ID ${remote}, ` +
        `proto ${event.summary.l4.protocol}, ${event.direction}, action ${event.verdict}, auth: disabled, ` +
        `match ${event.matchType}, ${packet}${event.policy === undefined ? '' : ` [${event.policy}]`}`
      );
    }
    default: {
      const point = (event.observationPoint ?? '').replace(/^to-/, '-> ').replace(/^from-/, '<- ');
      const endpoint = /endpoint$/.test(point)
        ? ` ${event.observationPoint === 'to-endpoint' ? event.dstID || event.source : event.source}`
        : '';
      return `${point}${endpoint} flow ${event.mark} , ${identities} state ${event.state} ifindex ${event.Ifindex} orig-ip 0.0.0.0: ${packet}`;
    }
  }
}

function wantedTypes(types: readonly string[] | undefined): string[] {
  const list = (types ?? []).flatMap((type) => type.split(','));
  for (const type of list) {
    if (TYPES.includes(type) || SILENT_TYPES.includes(type)) continue;
    throw new AppError(
      'bad-usage',
      `monitor: unknown type ${JSON.stringify(type)}; use ${[...TYPES, ...SILENT_TYPES].join(', ')}`,
    );
  }
  return list;
}

export async function monitor(options: MonitorOptions): Promise<void> {
  const types = wantedTypes(options.type);
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  process.once('SIGTERM', () => abort.abort());
  if (!options.json) {
    const {
      'bpf-maps': maps,
      'node-monitor': { cpus },
    } = await ask<StatusModel>('/healthz');
    const ring = maps.find(({ name }) => name === 'cilium_events')?.size ?? 0;
    printLine(`Listening for events on ${cpus} CPUs with ${Math.ceil(ring / PAGE)}x${PAGE} of shared memory`);
    printLine('Press Ctrl-C to quit');
  }
  const numbers = (list: readonly string[] | undefined) =>
    list && new Set(list.flatMap((ids) => ids.split(',').map(Number)));
  const [from, to, either] = [numbers(options.from), numbers(options.to), numbers(options.relatedTo)];
  const query = types.length > 0 ? `?type=${types.join(',')}` : '';
  await follow(
    `/monitor${query}`,
    (line) => {
      if (line === '') return;
      const event = JSON.parse(line) as MonitorEventModel;
      const all = event.type === 'lost';
      if (!all && from && !from.has(event.source)) return;
      if (!all && to && !to.has(event.dstID)) return;
      if (!all && either && !either.has(event.source) && !either.has(event.dstID)) return;
      printLine(options.json ? line : eventLine(event));
    },
    abort.signal,
  );
}
