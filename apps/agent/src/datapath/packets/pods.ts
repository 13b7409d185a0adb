// SPDX-License-Identifier: Apache-2.0
// Two pods of this node, one on another node and a stranger, in both families.
import type { LabPod } from './packet-lab.ts';
import { buildPacket, type PacketSpec } from './packet.ts';

export type Family = 'ipv4' | 'ipv6';
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

export const CLIENT: LabPod = {
  name: 'client',
  id: 1,
  identity: 1001,
  ipv4: '10.244.1.10',
  ipv6: 'fd00:10:244:1::10',
  mac: '02:00:00:00:00:01',
};

export const SERVER: LabPod = {
  name: 'server',
  id: 2,
  identity: 1002,
  ipv4: '10.244.1.20',
  ipv6: 'fd00:10:244:1::20',
  mac: '02:00:00:00:00:02',
};

/** On another node: known to the ipcache only. */
export const REMOTE = { identity: 1003, ipv4: '10.244.2.30', ipv6: 'fd00:10:244:2::30' };
/** Outside the cluster: identity world. */
export const STRANGER = { ipv4: '192.168.77.201', ipv6: 'fd77::c9' };

export const TCP = 6;
export const UDP = 17;

type End = { ipv4: string; ipv6: string; mac?: string };

/** A packet between two ends; its source MAC is the sender's. */
export function packet(
  family: Family,
  from: End,
  to: End,
  rest: Omit<PacketSpec, 'source' | 'destination'>,
): Uint8Array {
  return buildPacket({
    source: from[family],
    destination: to[family],
    ...(from.mac === undefined ? {} : { sourceMac: from.mac }),
    ...rest,
  });
}
