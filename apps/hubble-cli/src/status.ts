// SPDX-License-Identifier: Apache-2.0
// hubble status
import {
  HealthCheckResponse_ServingStatus as Serving,
  HealthDefinition,
  ObserverDefinition,
  ServerStatusResponse,
} from '@cilium-ts/proto';
import { formatColumns } from '@cilium-ts/terminal';
import { rpcMessage, type RpcClient } from '@cilium-ts/rpc';
import { Flags, helpText, parseArguments, type FlagSpec } from './arguments.ts';
import { connect, requestTimeout, serverAddress } from './connection.ts';
import { SERVER_FLAGS } from './flags.ts';

const FORMATS = ['compact', 'dict', 'json', 'table'] as const;
const FLAGS: readonly FlagSpec[] = [
  {
    name: 'output',
    short: 'o',
    kind: 'value',
    value: 'format',
    help: 'compact (default), dict, json, table',
  },
  ...SERVER_FLAGS,
];
const OBSERVER = 'hubble.server.Observer';
const UNAVAILABLE_MAX = 10;

const grouped = (value: bigint): string => value.toString().replace(/\B(?=(\d{3})+$)/g, ',');

export function percent(part: bigint, whole: bigint): string {
  return `${whole === 0n ? '0.00' : ((Number(part) / Number(whole)) * 100).toFixed(2)}%`;
}

export async function status(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(
      helpText('Shows whether the server answers and what it holds.', 'hubble status [flags]', FLAGS),
    );
    return 0;
  }
  const flags = new Flags(parseArguments(args, FLAGS).uses);
  const format = flags.choice('output', FORMATS, 'compact');
  const client = await connect(flags);
  try {
    const health = await checkHealth(client, requestTimeout(flags));
    const { methods } = ObserverDefinition;
    const server = (await client.unary(
      ObserverDefinition,
      methods.serverStatus,
      {},
      { timeoutMs: requestTimeout(flags) },
    )) as ServerStatusResponse;
    process.stdout.write(statusText(server, health, serverAddress(flags, process.env), format));
    return health === 'Ok' ? 0 : 1;
  } finally {
    client.close();
  }
}

async function checkHealth(client: RpcClient, timeoutMs: number): Promise<string> {
  try {
    const { check } = HealthDefinition.methods;
    const { status } = await client.unary(HealthDefinition, check, { service: OBSERVER }, { timeoutMs });
    return status === Serving.SERVING ? 'Ok' : 'not serving';
  } catch (error) {
    return rpcMessage(error);
  }
}

export function statusText(
  server: ServerStatusResponse,
  health: string,
  address: string,
  format: (typeof FORMATS)[number],
): string {
  if (format === 'json') return `${JSON.stringify(ServerStatusResponse.toJSON(server))}\n`;
  const nodes = server.numConnectedNodes;
  const away = server.numUnavailableNodes ?? 0;
  const flows = `${grouped(server.numFlows)}/${grouped(server.maxFlows)} (${percent(server.numFlows, server.maxFlows)})`;
  const connected = nodes === undefined ? undefined : `${nodes}/${nodes + away}`;
  if (format === 'table') {
    const head = ['CURRENT/MAX FLOWS', 'FLOWS/S', ...(connected ? ['CONNECTED NODES'] : [])];
    return formatColumns([head, [flows, server.flowsRate.toFixed(2), ...(connected ? [connected] : [])]], {
      padding: 3,
      minWidth: 2,
    });
  }
  if (format === 'dict') {
    const rows: [string, string][] = [
      ['Current/Max Flows', flows],
      ['Flows/s', server.flowsRate.toFixed(2)],
      ['Uptime', `${Number(server.uptimeNs / 1_000_000n) / 1000}s`],
      ['Version', server.version],
      ...(connected ? ([['Connected Nodes', connected]] as [string, string][]) : []),
    ];
    return rows.map(([name, value]) => `${name.padStart(17)}: ${value}\n`).join('');
  }
  let text = `Healthcheck (via ${address}): ${health}\nCurrent/Max Flows: ${flows}\nFlows/s: ${server.flowsRate.toFixed(2)}\n`;
  if (connected) text += `Connected Nodes: ${connected}\n`;
  if (away > 0) {
    text += `Unavailable Nodes: ${away}\n`;
    for (const name of server.unavailableNodes.slice(0, UNAVAILABLE_MAX)) text += `  - ${name}\n`;
  }
  return text;
}
