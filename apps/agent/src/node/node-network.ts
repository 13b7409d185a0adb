// SPDX-License-Identifier: Apache-2.0
// What the node itself needs: the gateway device of the pods, sysctls, a route to each other node's pod CIDRs.
import { errorMessage, type Logger } from '@cilium-ts/base';
import {
  accepting,
  addAddress,
  createVeth,
  deleteAddress,
  deleteRoute,
  replaceRoute,
  setLink,
  type Netlink,
  type RouteOptions,
} from '@cilium-ts/netlink';
import { gatewayOf, planNodeRoutes } from '@cilium-ts/node-plan';
import { Reconciler, type ReconcilerStatus, type TableReader } from '@cilium-ts/tables';
import type { NodeRow } from '../rows.ts';

export const HOST_DEVICE = 'cilium_host';
const PEER_DEVICE = 'cilium_net';
/** rt_protos: marks routes as ours, so that nobody else's are touched. */
export const ROUTE_PROTOCOL = 99;

export interface HostDevice {
  readonly ifindex: number;
  readonly mac: string;
  readonly gateways: readonly string[];
}

/** Makes or adopts the device that carries the gateway addresses. No dummy devices are needed: a veth pair does. */
export async function ensureHostDevice(
  netlink: Netlink,
  podCidrs: readonly string[],
  mtu: number,
): Promise<HostDevice> {
  const gateways = podCidrs.map(gatewayOf).filter((gateway) => gateway !== undefined);
  await netlink.run([
    accepting(createVeth({ name: HOST_DEVICE, mtu }, { name: PEER_DEVICE, mtu }), 'EEXIST'),
    setLink(HOST_DEVICE, { up: true, mtu }),
    setLink(PEER_DEVICE, { up: true, mtu }),
  ]);
  const link = await netlink.link(HOST_DEVICE);
  const present = (await netlink.addresses()).filter((address) => address.link === link.index);
  for (const { address, bits } of present) {
    if (address.startsWith('fe80:') || gateways.includes(address)) continue;
    await netlink.run(accepting(deleteAddress(link.index, `${address}/${bits}`), 'EADDRNOTAVAIL'));
  }
  await netlink.run(
    gateways.map((address) => addAddress({ link: link.index, address, noPrefixRoute: true })),
  );
  return { ifindex: link.index, mac: link.mac, gateways };
}

export async function writeSysctls(netlink: Netlink, logger: Logger): Promise<void> {
  const wanted: Record<string, string> = {
    'net.ipv4.ip_forward': '1',
    'net.ipv4.conf.all.rp_filter': '0',
    'net.ipv4.conf.default.rp_filter': '0',
    'net.ipv6.conf.all.forwarding': '1',
    [`net.ipv4.conf.${HOST_DEVICE}.rp_filter`]: '0',
    'net.ipv4.conf.all.accept_local': '1',
  };
  for (const [key, value] of Object.entries(wanted)) {
    try {
      if ((await netlink.readSysctl(key)) !== value) await netlink.writeSysctls({ [key]: value });
    } catch (error) {
      logger.warn({ sysctl: key, value, error: errorMessage(error) }, 'cannot set sysctl');
    }
  }
}

const same = (a: RouteOptions, b: RouteOptions): boolean => JSON.stringify(a) === JSON.stringify(b);
const routeKey = (route: RouteOptions): string => `${route.destination} ${route.metric ?? ''}`;

/** Keeps a route per pod CIDR of each other node, and an unreachable one for free addresses of our own. */
export class NodeRoutes {
  readonly #reconciler: Reconciler<RouteOptions>;
  readonly #options: { readonly device: string; readonly enabled: boolean };
  readonly #wanted = new Set<string>();

  constructor(
    netlink: Netlink,
    options: { readonly device: string; readonly enabled: boolean },
    logger: Logger,
  ) {
    this.#options = options;
    this.#reconciler = new Reconciler<RouteOptions>({
      name: 'node-routes',
      logger,
      equal: same,
      target: {
        update: (rows) => netlink.run(rows.map(([, route]) => replaceRoute(route))),
        delete: (rows) =>
          netlink.run(rows.map(([, route]) => accepting(deleteRoute(route), 'ESRCH', 'ENODEV'))),
        prune: async (wanted) => {
          const destinations = new Set([...wanted.values()].map((route) => route.destination));
          const stale = (await netlink.routes()).filter(
            (route) =>
              route.protocol === ROUTE_PROTOCOL &&
              route.gateway !== undefined &&
              !destinations.has(route.destination),
          );
          const requests = stale.map(({ destination, gateway }) =>
            accepting(deleteRoute({ destination, gateway: gateway!, protocol: ROUTE_PROTOCOL }), 'ESRCH'),
          );
          if (requests.length > 0) await netlink.run(requests);
        },
      },
    });
  }

  follow(nodes: TableReader<NodeRow>): () => void {
    this.#plan(nodes);
    void nodes.whenSynced().then(() => {
      this.#plan(nodes);
      this.#reconciler.prune();
    });
    return nodes.watch(() => this.#plan(nodes));
  }

  #plan(nodes: TableReader<NodeRow>): void {
    const wanted = new Map<string, RouteOptions>();
    for (const node of nodes.values()) {
      for (const route of this.#routesTo(node)) wanted.set(routeKey(route), route);
    }
    for (const key of this.#wanted) if (!wanted.has(key)) this.#reconciler.unset(key);
    this.#wanted.clear();
    for (const [key, route] of wanted) {
      this.#wanted.add(key);
      this.#reconciler.set(key, route);
    }
  }

  #routesTo(node: NodeRow): RouteOptions[] {
    const { device, enabled } = this.#options;
    return planNodeRoutes(node, enabled).map((route) =>
      route.kind === 'via'
        ? { destination: route.destination, gateway: route.gateway, link: device, protocol: ROUTE_PROTOCOL }
        : { destination: route.destination, type: 'unreachable', metric: 9999, protocol: ROUTE_PROTOCOL },
    );
  }

  status(): ReconcilerStatus {
    return this.#reconciler.status();
  }

  stop(): void {
    this.#reconciler.stop();
  }
}
