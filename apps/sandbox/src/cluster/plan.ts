// SPDX-License-Identifier: Apache-2.0
// The cluster's addresses as a function of node numbers. Pure.
import { AppError } from '@cilium-ts/base';

export interface NodePlan {
  readonly name: string;
  readonly index: number;
  /** Outside the cluster: on the wire, but without an agent and without pod addresses. */
  readonly outside: boolean;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly podCidrs: readonly string[];
}

export interface ClusterPlan {
  readonly nodes: readonly NodePlan[];
  readonly wire: { readonly ipv4: string; readonly ipv6: string };
  readonly clusterDns: string;
  readonly apiPort: number;
}

export const MAX_NODES = 100;
export const MAX_OUTSIDE = 50;

/** @throws AppError `bad-option` */
export function planCluster(nodes: number, outside: number): ClusterPlan {
  checkCount('--nodes', nodes, 1, MAX_NODES);
  checkCount('--outside', outside, 0, MAX_OUTSIDE);
  const inside = Array.from({ length: nodes }, (_, i) => planNode(i + 1));
  const others = Array.from({ length: outside }, (_, i) => planOutside(i + 1));
  return {
    nodes: [...inside, ...others],
    wire: { ipv4: '192.168.77.254', ipv6: 'fd77::fe' },
    clusterDns: '10.96.0.10',
    apiPort: 6443,
  };
}

function planNode(index: number): NodePlan {
  return {
    name: `node${index}`,
    index,
    outside: false,
    ipv4: `192.168.77.${index}`,
    ipv6: `fd77::${index.toString(16)}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index.toString(16)}::/64`],
  };
}

function planOutside(index: number): NodePlan {
  const last = 200 + index;
  return {
    name: `outside${index}`,
    index: last,
    outside: true,
    ipv4: `192.168.77.${last}`,
    ipv6: `fd77::${last.toString(16)}`,
    podCidrs: [],
  };
}

function checkCount(option: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new AppError('bad-option', `${option} must be a whole number from ${low} to ${high}, not ${value}`);
}
