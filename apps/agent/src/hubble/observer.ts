// SPDX-License-Identifier: Apache-2.0
// observer.Observer of one node.
import type { FlowLookups } from '@cilium-ts/flow';
import type { ObserverDefinition } from '@cilium-ts/proto';
import { RPC_STATUS, RpcError, type Handlers, type Outbox } from '@cilium-ts/rpc';
import { FlowReader } from './flow-reader.ts';
import type { SeenNamespaces } from './namespaces.ts';
import type { FlowRing } from './ring.ts';

export interface ObserverState {
  readonly ring: FlowRing;
  readonly lookups: FlowLookups;
  readonly namespaces: SeenNamespaces;
  /** Nanoseconds since the Unix epoch. */
  readonly now: () => bigint;
  readonly startedAt: bigint;
}

export const OBSERVER_HEALTH_NAME = 'hubble.server.Observer';

/** There are no such events yet: a follower waits, everybody else gets an empty answer. */
async function nothing(
  request: { readonly follow: boolean; readonly first: boolean },
  out: Outbox<never>,
): Promise<void> {
  if (request.first && request.follow) {
    throw new RpcError(RPC_STATUS.INVALID_ARGUMENT, 'first cannot be combined with follow');
  }
  if (!request.follow || out.signal.aborted) return;
  await new Promise<void>((resolve) => out.signal.addEventListener('abort', () => resolve()));
}

export function observerHandlers(state: ObserverState): Handlers<typeof ObserverDefinition> {
  const { ring, lookups, namespaces, now } = state;
  return {
    getFlows: (request, out) => new FlowReader(ring, lookups, request, out, now).run(),
    getAgentEvents: (request, out) => nothing(request, out as Outbox<never>),
    getDebugEvents: (request, out) => nothing(request, out as Outbox<never>),
    getNodes: () => {
      throw new RpcError(RPC_STATUS.UNIMPLEMENTED, 'an agent knows only itself: ask hubble-relay for nodes');
    },
    getNamespaces: () => ({
      namespaces: namespaces.list(now()).map((namespace) => ({ cluster: lookups.clusterName, namespace })),
    }),
    serverStatus: () => ({
      numFlows: BigInt(ring.length),
      maxFlows: BigInt(ring.capacity),
      seenFlows: BigInt(ring.seen),
      uptimeNs: now() - state.startedAt,
      numConnectedNodes: undefined,
      numUnavailableNodes: undefined,
      unavailableNodes: [],
      version: lookups.version,
      flowsRate: ring.rate(now()),
    }),
  };
}
