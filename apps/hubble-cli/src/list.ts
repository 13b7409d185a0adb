// SPDX-License-Identifier: Apache-2.0
// hubble list nodes | namespaces
import {
  GetNamespacesResponse,
  GetNodesResponse,
  NodeState,
  ObserverDefinition,
  type Namespace,
  type Node,
} from '@cilium-ts/proto';
import { formatColumns } from '@cilium-ts/terminal';
import { Flags, helpText, parseArguments, usage, type FlagSpec } from './arguments.ts';
import { connect, requestTimeout } from './connection.ts';
import { SERVER_FLAGS } from './flags.ts';

const FORMATS = ['table', 'wide', 'json'] as const;
type Format = (typeof FORMATS)[number];
const FLAGS: readonly FlagSpec[] = [
  { name: 'output', short: 'o', kind: 'value', value: 'format', help: 'table (default), wide, json' },
  ...SERVER_FLAGS,
];

const NODES = ['node', 'nodes'];
const NAMESPACES = ['namespace', 'namespaces', 'ns'];

export async function list(args: readonly string[]): Promise<number> {
  const { uses, words } = parseArguments(args, FLAGS);
  const flags = new Flags(uses);
  if (flags.has('help')) {
    process.stdout.write(
      helpText('Lists nodes or namespaces.', 'hubble list nodes|namespaces [flags]', FLAGS),
    );
    return 0;
  }
  const [what = ''] = words;
  if (words.length !== 1 || ![...NODES, ...NAMESPACES].includes(what))
    throw usage('hubble list needs nodes or namespaces');
  const format = flags.choice('output', FORMATS, 'table');
  const client = await connect(flags);
  const options = { timeoutMs: requestTimeout(flags) };
  const { getNodes, getNamespaces } = ObserverDefinition.methods;
  try {
    if (NODES.includes(what)) {
      const response = (await client.unary(ObserverDefinition, getNodes, {}, options)) as GetNodesResponse;
      process.stdout.write(nodesText(response.nodes, format));
    } else {
      const response = (await client.unary(
        ObserverDefinition,
        getNamespaces,
        {},
        options,
      )) as GetNamespacesResponse;
      process.stdout.write(namespacesText(response.namespaces, format));
    }
    return 0;
  } finally {
    client.close();
  }
}

const STATES: Readonly<Record<number, string>> = {
  [NodeState.NODE_CONNECTED]: 'Connected',
  [NodeState.NODE_UNAVAILABLE]: 'Unavailable',
  [NodeState.NODE_GONE]: 'Gone',
  [NodeState.NODE_ERROR]: 'Error',
};

/** `3h12m5s`, without fractions. */
export function ageText(nanoseconds: bigint): string {
  const total = Number(nanoseconds / 1_000_000_000n);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const seconds = total % 60;
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

export function nodesText(nodes: readonly Node[], format: Format): string {
  const sorted = [...nodes].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (format === 'json') return `${JSON.stringify(GetNodesResponse.toJSON({ nodes: sorted }), null, 2)}\n`;
  const isWide = format === 'wide';
  const head = [
    'NAME',
    'STATUS',
    'AGE',
    'FLOWS/S',
    'CURRENT/MAX-FLOWS',
    ...(isWide ? ['VERSION', 'ADDRESS', 'TLS'] : []),
  ];
  return formatColumns([head, ...sorted.map((node) => nodeRow(node, isWide))], { padding: 3, minWidth: 2 });
}

function nodeRow(node: Node, isWide: boolean): string[] {
  const isConnected = node.state === NodeState.NODE_CONNECTED;
  const seconds = Number(node.uptimeNs) / 1e9;
  const share = node.maxFlows === 0n ? 0 : (Number(node.numFlows) / Number(node.maxFlows)) * 100;
  const facts = isConnected
    ? [
        ageText(node.uptimeNs),
        (seconds > 0 ? Number(node.seenFlows) / seconds : 0).toFixed(2),
        `${node.numFlows}/${node.maxFlows} (${share.toFixed(2).padStart(6)}%)`,
      ]
    : ['N/A', 'N/A', 'N/A'];
  const tls = node.tls === undefined ? 'N/A' : node.tls.enabled ? 'Enabled' : 'Disabled';
  const wide = isWide ? [node.version || 'N/A', node.address || 'N/A', tls] : [];
  return [node.name, STATES[node.state] ?? 'Unknown', ...facts, ...wide];
}

function namespacesText(namespaces: readonly Namespace[], format: Format): string {
  if (format === 'json') {
    return `${JSON.stringify(GetNamespacesResponse.toJSON({ namespaces: [...namespaces] }), null, 2)}\n`;
  }
  const rows = namespaces.map(({ namespace, cluster }) =>
    format === 'wide' ? [namespace, cluster] : [namespace],
  );
  return formatColumns([format === 'wide' ? ['NAMESPACE', 'CLUSTER'] : ['NAMESPACE'], ...rows], {
    padding: 3,
    minWidth: 2,
  });
}
