// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import type { Address, Link, Route } from '@cilium-ts/netlink';

const TABLE_MAIN = 254;

/** The devices that lead off the node: named ones, or those with a node address or the default route. */
export function nativeDevices(
  configured: string,
  state: {
    readonly links: readonly Link[];
    readonly routes: readonly Route[];
    readonly addresses: readonly Address[];
  },
  nodeIps: readonly string[],
): Link[] {
  const names = configured.split(/[\s,]+/).filter((name) => name !== '');
  if (names.length > 0) {
    return names.map((name) => {
      const found = state.links.find((link) => link.name === name);
      if (found) return found;
      const known = state.links.map((link) => link.name).join(', ');
      throw new AppError('bad-config', `configuration key devices names ${name}; this node has ${known}`);
    });
  }
  const wanted = new Set<number>();
  for (const address of state.addresses) if (nodeIps.includes(address.address)) wanted.add(address.link);
  for (const route of state.routes) {
    const isDefault = route.destination === '0.0.0.0/0' || route.destination === '::/0';
    if (isDefault && route.table === TABLE_MAIN && route.link !== undefined) wanted.add(route.link);
  }
  const ours = /^(lxc|cilium_)/;
  return state.links.filter((link) => wanted.has(link.index) && !link.loopback && !ours.test(link.name));
}
