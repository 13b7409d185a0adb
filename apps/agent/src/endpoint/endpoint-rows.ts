// SPDX-License-Identifier: Apache-2.0
import {
  EndpointFlags,
  type EndpointKey,
  type EndpointValue,
  type LxcKey,
  type LxcValue,
} from '@cilium-ts/abi';
import type { BpfMap } from '@cilium-ts/bpf';
import { IDENTITY_HOST } from '@cilium-ts/identity';
import type { EndpointLogLine, EndpointRow, EndpointState } from '../rows.ts';

const LOG_LINES = 16;

/** The node itself (host firewall): no device of its own, no CNI attachment, no CiliumEndpoint. */
export const isHost = (row: Pick<EndpointRow, 'identity'>): boolean => row.identity === IDENTITY_HOST;

export interface EndpointMaps {
  readonly endpoints: BpfMap<EndpointKey, EndpointValue>;
  readonly lxc: BpfMap<LxcKey, LxcValue>;
}

export function endpointValue(row: EndpointRow): EndpointValue {
  return {
    identity: row.identity,
    ruleSet: row.ruleSet,
    id: row.id,
    flags: row.audit ? EndpointFlags.ENDPOINT_AUDIT : 0,
    mac: row.mac,
    nodeMac: row.hostMac,
    ipv4: row.ipv4,
    ipv6: row.ipv6,
  };
}

export function addressesOf(row: Pick<EndpointRow, 'ipv4' | 'ipv6'>): string[] {
  return [row.ipv4, row.ipv6].filter((address) => address !== '');
}

export function writeDelivery(maps: EndpointMaps, row: EndpointRow): void {
  for (const addr of addressesOf(row)) maps.lxc.set({ addr }, { ifindex: row.ifindex, id: row.id, flags: 0 });
}

export function removeRows(maps: EndpointMaps, row: EndpointRow): void {
  for (const addr of addressesOf(row)) {
    if (maps.lxc.get({ addr })?.id === row.id) maps.lxc.delete({ addr });
  }
  if (row.ifindex > 0) maps.endpoints.delete({ ifindex: row.ifindex });
}

/** The row in another state, with a line in its log. */
export function inState(row: EndpointRow, state: EndpointState, message: string, code = 'ok'): EndpointRow {
  const line: EndpointLogLine = { timestamp: new Date().toISOString(), code, state, message };
  return { ...row, state, log: [...row.log.slice(1 - LOG_LINES), line] };
}
