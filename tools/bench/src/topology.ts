// SPDX-License-Identifier: Apache-2.0
import type { Native } from '@cilium-ts/native';
import * as nl from '@cilium-ts/netlink';

/** A pod: a namespace with eth0, and the host side of its veth on the node. */
export interface Pod {
  readonly netns: string;
  readonly address: string;
  readonly mac: string;
  readonly hostDevice: string;
  readonly hostIndex: number;
  readonly hostMac: string;
  readonly identity: number;
}

export interface Node {
  readonly name: string;
  readonly netns: string;
  readonly address: string;
  readonly podCidr: string;
  readonly deviceIndex: number;
  readonly pods: readonly Pod[];
}

/** Two nodes on a bridge: two pods on the first, one on the second; routed by the kernel, no program attached. */
export interface Topology {
  readonly nodes: readonly [Node, Node];
  remove(): Promise<void>;
}

const OPEN = {
  'net.ipv4.ip_forward': 1,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
};

interface Builder {
  readonly native: Native;
  readonly netlink: nl.Netlink;
  readonly prefix: string;
  readonly created: string[];
}

async function namespace(builder: Builder, name: string): Promise<string> {
  const full = `${builder.prefix}-${name}`;
  const path = await nl.createNetns(builder.native, full);
  builder.created.push(full);
  await builder.netlink.writeSysctls(OPEN, path);
  return path;
}

async function buildPod(builder: Builder, node: number, netns: string, number: number): Promise<Pod> {
  const { native, netlink } = builder;
  const address = `10.244.${node}.${10 + number}`;
  const gateway = `10.244.${node}.1`;
  const hostDevice = `lxc${number}`;
  const podNetns = await namespace(builder, `p${node}${number}`);
  await nl.withNetnsFd(native, podNetns, (netnsFd) =>
    netlink.run(
      [
        nl.createVeth({ name: hostDevice, up: true }, { name: 'eth0', netnsFd }),
        nl.addAddress({ link: hostDevice, address: `${gateway}/32` }),
        nl.addRoute({ destination: `${address}/32`, link: hostDevice }),
      ],
      netns,
    ),
  );
  await netlink.run(
    [
      nl.setLink('eth0', { up: true }),
      nl.addAddress({ link: 'eth0', address: `${address}/32` }),
      nl.addRoute({ destination: `${gateway}/32`, link: 'eth0' }),
      nl.addRoute({ destination: 'default', gateway, link: 'eth0' }),
    ],
    podNetns,
  );
  const host = await netlink.link(hostDevice, netns);
  const { mac } = await netlink.link('eth0', podNetns);
  return {
    netns: podNetns,
    address,
    mac,
    hostDevice,
    hostIndex: host.index,
    hostMac: host.mac,
    identity: 1000 + node * 10 + number,
  };
}

async function buildNode(builder: Builder, wire: string, node: number, pods: number): Promise<Node> {
  const { native, netlink } = builder;
  const netns = await namespace(builder, `n${node}`);
  const address = `192.168.77.${node}`;
  await nl.withNetnsFd(native, netns, (netnsFd) =>
    netlink.run(
      [
        nl.createVeth({ name: `node${node}` }, { name: 'eth0', netnsFd }),
        nl.setLink(`node${node}`, { master: 'br0', up: true }),
      ],
      wire,
    ),
  );
  const other = 3 - node;
  await netlink.run(
    [
      nl.setLink('eth0', { up: true }),
      nl.addAddress({ link: 'eth0', address: `${address}/24` }),
      nl.addRoute({ destination: `10.244.${other}.0/24`, gateway: `192.168.77.${other}`, link: 'eth0' }),
    ],
    netns,
  );
  const list: Pod[] = [];
  for (let i = 0; i < pods; i++) list.push(await buildPod(builder, node, netns, i));
  const device = await netlink.link('eth0', netns);
  return {
    name: `node${node}`,
    netns,
    address,
    podCidr: `10.244.${node}.0/24`,
    deviceIndex: device.index,
    pods: list,
  };
}

/** Builds it under names of this process; what was built goes again when something fails. */
export async function buildTopology(native: Native): Promise<Topology> {
  const builder: Builder = {
    native,
    netlink: new nl.Netlink(native),
    prefix: `ctb-${process.pid}`,
    created: [],
  };
  const remove = async (): Promise<void> => {
    for (const name of builder.created.splice(0)) await nl.deleteNetns(native, name);
  };
  try {
    const wire = await namespace(builder, 'wire');
    await builder.netlink.run(nl.createBridge({ name: 'br0', up: true }), wire);
    const first = await buildNode(builder, wire, 1, 2);
    const second = await buildNode(builder, wire, 2, 1);
    return { nodes: [first, second], remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
