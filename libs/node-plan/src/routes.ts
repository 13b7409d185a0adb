// SPDX-License-Identifier: Apache-2.0
import { addressFamily } from '@cilium-ts/net';

/** What routing needs to know of a node. */
export interface NodeAddressing {
  readonly internalIps: readonly string[];
  readonly podCidrs: readonly string[];
  readonly local: boolean;
  /** A host without agent and pods. */
  readonly outside: boolean;
}

export type PlannedRoute =
  | { readonly kind: 'unreachable'; readonly destination: string }
  | { readonly kind: 'via'; readonly destination: string; readonly gateway: string };

/**
 * Routes that a node needs for another one or for itself: its own free pod addresses are unreachable (they must not
 * leave by the default route), another node's pod CIDRs go by that node's address of the same family.
 */
export function planNodeRoutes(node: NodeAddressing, directRoutes: boolean): PlannedRoute[] {
  if (node.local) return node.podCidrs.map((destination) => ({ kind: 'unreachable', destination }));
  if (node.outside || !directRoutes) return [];
  return node.podCidrs.flatMap((destination) => {
    const gateway = node.internalIps.find((ip) => addressFamily(ip) === addressFamily(destination));
    return gateway === undefined ? [] : [{ kind: 'via' as const, destination, gateway }];
  });
}
