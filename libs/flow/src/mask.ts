// SPDX-License-Identifier: Apache-2.0
// Field masks over Flow: paths in .proto names, `source.pod_name`.
import { AppError } from '@cilium-ts/base';
import { Flow } from '@cilium-ts/proto';

type Tree = Map<string, Tree>;

const camel = (name: string): string =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** Names below a message field of Flow; a leaf or a list has none. */
const INSIDE: Readonly<Record<string, readonly string[]>> = {
  ethernet: ['source', 'destination'],
  IP: ['source', 'destination', 'ipVersion', 'encrypted', 'source_xlated'],
  l4: ['TCP', 'UDP', 'ICMPv4', 'ICMPv6', 'SCTP', 'VRRP', 'IGMP'],
  source: ['ID', 'identity', 'namespace', 'labels', 'pod_name', 'workloads', 'cluster_name'],
  destination: ['ID', 'identity', 'namespace', 'labels', 'pod_name', 'workloads', 'cluster_name'],
  event_type: ['type', 'sub_type'],
  source_service: ['name', 'namespace'],
  destination_service: ['name', 'namespace'],
  interface: ['index', 'name'],
  file: ['name', 'line'],
  emitter: ['name', 'version'],
};

/** Returns what keeps only the masked paths. @throws AppError `bad-field-mask` naming the path */
export function compileMask(paths: readonly string[]): (flow: Flow) => Flow {
  const known = new Set(Object.keys(Flow.create({})));
  const tree: Tree = new Map();
  for (const path of paths) {
    const [first = '', second, ...rest] = path.split('.');
    const isKnown = known.has(camel(first)) && camel(first) !== '';
    if (!isKnown || (second !== undefined && !(INSIDE[first] ?? []).includes(second)) || rest.length > 0) {
      throw new AppError(
        'bad-field-mask',
        `unknown path ${JSON.stringify(path)} in the field mask of a flow`,
      );
    }
    const below = tree.get(camel(first)) ?? new Map<string, Tree>();
    const wasWhole = tree.has(camel(first)) && below.size === 0;
    tree.set(camel(first), below);
    if (second === undefined) below.clear();
    else if (!wasWhole) below.set(first === 'l4' ? second : camel(second), new Map());
  }
  return (flow) => masked(flow, tree);
}

function masked(flow: Flow, tree: Tree): Flow {
  const kept = Flow.create({}) as unknown as Record<string, unknown>;
  const from = flow as unknown as Record<string, unknown>;
  for (const [name, below] of tree) {
    const value = from[name];
    if (below.size === 0 || value === undefined) kept[name] = value;
    else if (name === 'l4') kept[name] = below.has(flow.l4?.protocol?.$case ?? '') ? value : undefined;
    else kept[name] = pick(value as Record<string, unknown>, below);
  }
  return kept as unknown as Flow;
}

/** The fields of `value` named in `below`; the others as in an empty message. */
function pick(value: Record<string, unknown>, below: Tree): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, below.has(name) ? inner : emptyOf(inner)]),
  );
}

function emptyOf(value: unknown): unknown {
  if (Array.isArray(value)) return [];
  if (typeof value === 'string') return '';
  if (typeof value === 'boolean') return false;
  if (typeof value === 'bigint') return 0n;
  return typeof value === 'number' ? 0 : undefined;
}
