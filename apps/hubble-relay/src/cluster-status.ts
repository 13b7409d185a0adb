// SPDX-License-Identifier: Apache-2.0
// Questions that are answered by asking every agent once, in parallel.
import {
  NodeState,
  ObserverDefinition,
  type GetNamespacesResponse,
  type GetNodesResponse,
  type Namespace,
  type Node,
  type ServerStatusResponse,
} from '@cilium-ts/proto';
import { isAvailable, type Peer, type PeerPool } from './peer-pool.ts';

const TIMEOUT_MS = 3000;
const UNAVAILABLE_MAX = 10;

interface Answer {
  readonly peer: Peer;
  readonly status: ServerStatusResponse | undefined;
  /** False: no connection, not even tried. */
  readonly available: boolean;
}

async function askAll(pool: PeerPool): Promise<Answer[]> {
  const { serverStatus } = ObserverDefinition.methods;
  return Promise.all(
    pool.peers().map(async (peer): Promise<Answer> => {
      if (!isAvailable(peer)) return { peer, status: undefined, available: false };
      try {
        const status = await peer.client.unary(
          ObserverDefinition,
          serverStatus,
          {},
          { timeoutMs: TIMEOUT_MS },
        );
        return { peer, status: status as ServerStatusResponse, available: true };
      } catch {
        return { peer, status: undefined, available: true };
      }
    }),
  );
}

const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n);

export async function clusterStatus(pool: PeerPool, version: string): Promise<ServerStatusResponse> {
  const answers = await askAll(pool);
  const statuses = answers.flatMap(({ status }) => (status ? [status] : []));
  const away = answers.filter(({ status }) => !status).map(({ peer }) => peer.name);
  return {
    numFlows: sum(statuses.map((status) => status.numFlows)),
    maxFlows: sum(statuses.map((status) => status.maxFlows)),
    seenFlows: sum(statuses.map((status) => status.seenFlows)),
    uptimeNs: statuses.reduce((most, { uptimeNs }) => (uptimeNs > most ? uptimeNs : most), 0n),
    numConnectedNodes: statuses.length,
    numUnavailableNodes: away.length,
    unavailableNodes: away.sort().slice(0, UNAVAILABLE_MAX),
    version,
    flowsRate: statuses.reduce((total, { flowsRate }) => total + flowsRate, 0),
  };
}

export async function clusterNodes(pool: PeerPool): Promise<GetNodesResponse> {
  return { nodes: (await askAll(pool)).map(nodeOf).sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

function nodeOf({ peer, status, available }: Answer): Node {
  const state = status
    ? NodeState.NODE_CONNECTED
    : available
      ? NodeState.NODE_ERROR
      : NodeState.NODE_UNAVAILABLE;
  return {
    name: peer.name,
    version: status?.version ?? '',
    address: peer.address,
    state,
    tls: { enabled: false, serverName: '' },
    uptimeNs: status?.uptimeNs ?? 0n,
    numFlows: status?.numFlows ?? 0n,
    maxFlows: status?.maxFlows ?? 0n,
    seenFlows: status?.seenFlows ?? 0n,
  };
}

/** Of the agents that answer. */
export async function clusterNamespaces(pool: PeerPool): Promise<GetNamespacesResponse> {
  const { getNamespaces } = ObserverDefinition.methods;
  const found = new Map<string, Namespace>();
  await Promise.all(
    pool
      .peers()
      .filter(isAvailable)
      .map(async ({ client }) => {
        const options = { timeoutMs: TIMEOUT_MS };
        const answer = await client
          .unary(ObserverDefinition, getNamespaces, {}, options)
          .catch(() => undefined);
        for (const one of (answer as GetNamespacesResponse | undefined)?.namespaces ?? []) {
          found.set(`${one.cluster}/${one.namespace}`, one);
        }
      }),
  );
  const keys = [...found.keys()].sort();
  return { namespaces: keys.map((key) => found.get(key)!) };
}
