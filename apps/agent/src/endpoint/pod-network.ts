// SPDX-License-Identifier: Apache-2.0
// The netlink work of one pod: veth pair, addresses, routes and permanent neighbours on both sides.
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { AppError } from '@cilium-ts/base';
import { formatMac } from '@cilium-ts/net';
import type { Native } from '@cilium-ts/native';
import {
  accepting,
  addAddress,
  createVeth,
  deleteLink,
  isErrno,
  replaceRoute,
  setLink,
  setNeighbour,
  type Netlink,
  type Request,
} from '@cilium-ts/netlink';

export interface PodInterface {
  readonly containerId: string;
  readonly interfaceName: string;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface PodNetworkSettings {
  readonly gateways: readonly string[];
  readonly mtu: number;
  readonly routeProtocol: number;
}

export interface CreatedInterface {
  readonly hostDevice: string;
  readonly ifindex: number;
  readonly mac: string;
  readonly hostMac: string;
}

export function hostDeviceName(containerId: string, interfaceName: string): string {
  return `lxc${createHash('sha256').update(`${containerId}:${interfaceName}`).digest('hex').slice(0, 12)}`;
}

function randomMac(): string {
  const bytes = randomBytes(6);
  // Locally administered, unicast.
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return formatMac(bytes);
}

const isV6 = (address: string): boolean => address.includes(':');

export class PodNetwork {
  readonly #native: Native;
  readonly #netlink: Netlink;
  readonly #settings: PodNetworkSettings;

  constructor(native: Native, netlink: Netlink, settings: PodNetworkSettings) {
    this.#native = native;
    this.#netlink = netlink;
    this.#settings = settings;
  }

  gateway(address: string): string | undefined {
    return this.#settings.gateways.find((gateway) => isV6(gateway) === isV6(address));
  }

  /** The veth pair, its pod end born inside the pod's namespace; a stale one of the same name goes first. */
  async createPair(pod: PodInterface): Promise<CreatedInterface> {
    if (!existsSync(pod.netns))
      throw new AppError('no-netns', `network namespace ${pod.netns} does not exist`);
    const { mtu } = this.#settings;
    const hostDevice = hostDeviceName(pod.containerId, pod.interfaceName);
    const mac = randomMac();
    const hostMac = randomMac();
    const netnsFd = this.#native.fdOpen({ path: pod.netns });
    const create = createVeth(
      { name: hostDevice, mtu, mac: hostMac, up: true },
      { name: pod.interfaceName, mtu, mac, netnsFd },
    );
    try {
      try {
        await this.#netlink.run(create);
      } catch (error) {
        if (!isErrno(error, 'EEXIST')) throw error;
        await this.#netlink.run(accepting(deleteLink(pod.interfaceName), 'ENODEV'), netnsFd);
        await this.#netlink.run(accepting(deleteLink(hostDevice), 'ENODEV'));
        await this.#netlink.run(create);
      }
    } finally {
      this.#native.fdClose({ fd: netnsFd });
    }
    const ifindex = await this.#netlink.linkIndex(hostDevice);
    if (ifindex === undefined) throw new AppError('no-device', `${hostDevice} vanished after its creation`);
    return { hostDevice, ifindex, mac, hostMac };
  }

  /** Inside the pod: no neighbour discovery is ever needed, the gateway's address is permanent. */
  async configurePod(pod: PodInterface, created: CreatedInterface): Promise<void> {
    const link = pod.interfaceName;
    const requests: Request[] = [setLink(link, { up: true }), setLink('lo', { up: true })];
    for (const address of [pod.ipv4, pod.ipv6]) {
      const gateway = address === '' ? undefined : this.gateway(address);
      if (gateway === undefined) continue;
      const everything = isV6(address) ? '::/0' : '0.0.0.0/0';
      requests.push(
        addAddress({ link, address }),
        setNeighbour({ link, address: gateway, mac: created.hostMac }),
        replaceRoute({ destination: gateway, link }),
        replaceRoute({ destination: everything, link, gateway, mtu: this.#settings.mtu }),
      );
    }
    const netns = this.#native.fdOpen({ path: pod.netns });
    try {
      if (pod.ipv6 !== '') await this.#enableIpv6(link, netns);
      await this.#netlink.run(requests, netns);
    } finally {
      this.#native.fdClose({ fd: netns });
    }
  }

  async #enableIpv6(link: string, netns: number): Promise<void> {
    const key = `net/ipv6/conf/${link}/disable_ipv6`;
    try {
      if ((await this.#netlink.readSysctl(key, netns)) !== '0')
        await this.#netlink.writeSysctls({ [key]: 0 }, netns);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }

  /** On the node: a route and a permanent neighbour for each address of the pod. */
  async configureHost(pod: Pick<PodInterface, 'ipv4' | 'ipv6'>, created: CreatedInterface): Promise<void> {
    const link = created.ifindex;
    const requests: Request[] = [];
    for (const address of [pod.ipv4, pod.ipv6]) {
      if (address === '') continue;
      const source = this.gateway(address);
      requests.push(
        setNeighbour({ link, address, mac: created.mac }),
        replaceRoute({
          destination: address,
          link,
          protocol: this.#settings.routeProtocol,
          ...(source === undefined ? {} : { source }),
        }),
      );
    }
    await this.#netlink.writeSysctls({ [`net/ipv4/conf/${created.hostDevice}/rp_filter`]: 0 });
    await this.#netlink.run(requests);
  }

  /** Both ends, routes and neighbours go with it; none is as good. */
  async remove(hostDevice: string): Promise<void> {
    await this.#netlink.run(accepting(deleteLink(hostDevice), 'ENODEV'));
  }
}
