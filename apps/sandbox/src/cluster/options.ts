// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { AppError } from '@cilium-ts/base';

export interface StartOptions {
  readonly nodes: number;
  readonly outside: number;
  readonly detach: boolean;
  readonly demo: boolean;
  /** Run the sandbox's scheduler and workload controllers although the API server is not ours. */
  readonly controllers: boolean;
  readonly kubeconfig: string | undefined;
  readonly hostPaths: readonly string[];
  readonly chartValues: readonly string[];
}

export type Command =
  | { readonly name: 'start'; readonly options: StartOptions }
  | { readonly name: 'stop' }
  | { readonly name: 'status' }
  | { readonly name: 'help' };

export const USAGE = `usage: npm start [-- OPTIONS]     a cluster in network namespaces, until Ctrl-C
       npm stop                    removes it, also one that was killed
       sandbox status              who holds the machine

  --nodes N            cluster nodes, 1 to 100 (default 2)
  --outside N          hosts outside the cluster on the same wire (default 0)
  --detach             return when the cluster is ready; npm stop ends it
  --no-demo            without the demo's workloads, policies and first connections
  --kubeconfig FILE    use the API server of FILE instead of the embedded one
  --controllers        with --kubeconfig: run our scheduler and workload controllers there
  --host-path DIR      allow pods to mount DIR of the machine (repeatable)
  --chart-values FILE  further values for the chart (repeatable)`;

/** @throws AppError `bad-option` */
export function parseCommand(argv: readonly string[]): Command {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || argv.includes('--help')) return { name: 'help' };
  if (name === 'stop' || name === 'status') {
    if (rest.length > 0) throw new AppError('bad-option', `${name} takes no options, not ${rest.join(' ')}`);
    return { name };
  }
  if (name !== 'start')
    throw new AppError('bad-option', `unknown command ${name}; allowed: start, stop, status`);
  return { name, options: parseStart(rest) };
}

function parseStart(argv: string[]): StartOptions {
  let values;
  try {
    ({ values } = parseArgs({
      args: argv,
      options: {
        nodes: { type: 'string', default: '2' },
        outside: { type: 'string', default: '0' },
        detach: { type: 'boolean', default: false },
        'no-demo': { type: 'boolean', default: false },
        controllers: { type: 'boolean', default: false },
        kubeconfig: { type: 'string' },
        'host-path': { type: 'string', multiple: true, default: [] },
        'chart-values': { type: 'string', multiple: true, default: [] },
      },
    }));
  } catch (error) {
    throw new AppError('bad-option', (error as Error).message.split('\n')[0] ?? 'bad option');
  }
  for (const path of values['host-path']) {
    if (!path.startsWith('/'))
      throw new AppError('bad-option', `--host-path must be an absolute path, not ${path}`);
  }
  return {
    nodes: wholeNumber('--nodes', values.nodes),
    outside: wholeNumber('--outside', values.outside),
    detach: values.detach,
    demo: !values['no-demo'],
    controllers: values.controllers,
    kubeconfig: values.kubeconfig,
    hostPaths: values['host-path'],
    chartValues: values['chart-values'],
  };
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d+$/.test(text))
    throw new AppError('bad-option', `${option} must be a whole number, not ${JSON.stringify(text)}`);
  return Number(text);
}
