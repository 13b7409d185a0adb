// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import * as abi from '@cilium-ts/abi';
import * as bpf from '@cilium-ts/bpf';
import type { Native } from '@cilium-ts/native';
import type { Node, Topology } from './topology.ts';

/** Our programs on one node, its maps filled by hand instead of by an agent. */
export interface NodeDatapath {
  /** Puts the programs onto all devices of the node. */
  attach(): Promise<void>;
  /** Takes them off again: the kernel's own routing goes on. */
  detach(): Promise<void>;
  /** Records read from the ring so far, by event type. */
  readonly events: ReadonlyMap<number, number>;
  close(): Promise<void>;
}

export interface DatapathOptions {
  /** Port on which every pod may reach every pod; everything else is denied. */
  readonly port: number;
}

const RULE_SET = 1;
const TCP = 6;

/** Where bpf_lxc.o and the others are. */
export function bpfObjectDirectory(): string {
  return process.env['CILIUM_TS_BPF'] ?? join(process.cwd(), 'dist', 'bpf');
}

function configBytes(node: Node): Uint8Array {
  const { ConfigFlags } = abi;
  const config: abi.DatapathConfig = {
    flags:
      ConfigFlags.CONFIG_IPV4 |
      ConfigFlags.CONFIG_SOURCE_IP_CHECK |
      ConfigFlags.CONFIG_ALLOW_HOST |
      ConfigFlags.CONFIG_DROP_EVENTS |
      ConfigFlags.CONFIG_TRACE_EVENTS |
      ConfigFlags.CONFIG_VERDICT_EVENTS |
      ConfigFlags.CONFIG_REDIRECT_PEER |
      ConfigFlags.CONFIG_REDIRECT_NEIGH,
    layoutHash: abi.LAYOUT_HASH,
    nodeIpv4: node.address,
    nodeIpv6: '',
    nativeCidrIpv4: '10.244.0.0',
    nativeCidrIpv6: '',
    loopbackIpv4: '',
    loopbackIpv6: '',
    nativeCidrIpv4Bits: 96 + 16,
    nativeCidrIpv6Bits: 0,
    ctTcp: 8000,
    ctTcpSyn: 60,
    ctTcpClosing: 10,
    ctAny: 60,
    traceInterval: 5,
    natPortMin: 32768,
    natPortMax: 65535,
    nativeIfindex: node.deviceIndex,
  };
  const bytes = new Uint8Array(abi.DatapathConfigCodec.size);
  abi.DatapathConfigCodec.encode(bytes, 0, config);
  return bytes;
}

/** Both directions isolated: pods reach each other on one TCP port, in and out. */
function ruleSet(identities: readonly number[], port: number): [abi.PolicyKey, abi.PolicyEntry][] {
  return identities.flatMap((identity, i) =>
    [abi.TrafficDirection.DIR_INGRESS, abi.TrafficDirection.DIR_EGRESS].map(
      (direction): [abi.PolicyKey, abi.PolicyEntry] => [
        { prefixlen: abi.PolicyPrefix.POLICY_PREFIX_PORT, identity, direction, protocol: TCP, port },
        { origin: i + 1, precedence: 1, l7RuleSet: 0, flags: 0, prefixBits: 24 },
      ],
    ),
  );
}

interface Loaded {
  readonly pods: bpf.BpfObject;
  readonly host: bpf.BpfObject;
  readonly programs: Record<'fromContainer' | 'toContainer' | 'fromDevice' | 'toDevice', bpf.BpfProgram>;
}

async function loadObjects(native: Native, node: Node, pinDirectory: string): Promise<Loaded> {
  const options = {
    constants: { config: configBytes(node) },
    expectedLayoutHash: abi.LAYOUT_HASH,
    pinDirectory,
  };
  const pods = await bpf.BpfObject.load(native, join(bpfObjectDirectory(), 'bpf_lxc.o'), options);
  const host = await bpf.BpfObject.load(native, join(bpfObjectDirectory(), 'bpf_host.o'), options);
  return {
    pods,
    host,
    programs: {
      fromContainer: pods.program('cil_from_container'),
      toContainer: pods.program('cil_to_container'),
      fromDevice: host.program('cil_from_netdev'),
      toDevice: host.program('cil_to_netdev'),
    },
  };
}

async function fillMaps(object: bpf.BpfObject, node: Node, topology: Topology, port: number): Promise<void> {
  const everyone = topology.nodes.flatMap((other) => other.pods.map((pod) => ({ pod, node: other })));
  const endpoints = object.map(abi.endpointsMap);
  const lxc = object.map(abi.lxcMap);
  const ipcache = object.map(abi.ipcacheExactMap);
  const policy = object.outerMap(abi.policyMap);
  const runtime = object.map(abi.runtimeMap);
  await ipcache.setMany(
    everyone.map((each) => [
      { addr: each.pod.address },
      { identity: each.pod.identity, flags: 0, node: each.node.address },
    ]),
  );
  const inner = await policy.createInner(
    ruleSet(
      everyone.map((each) => each.pod.identity),
      port,
    ),
  );
  await policy.put([[RULE_SET, inner]]);
  node.pods.forEach((pod, i) => {
    const endpoint = {
      identity: pod.identity,
      ruleSet: RULE_SET,
      id: i + 1,
      flags: 0,
      mac: pod.mac,
      nodeMac: pod.hostMac,
      ipv4: pod.address,
      ipv6: '',
    };
    endpoints.set({ ifindex: pod.hostIndex }, endpoint);
    lxc.set({ addr: pod.address }, { ifindex: pod.hostIndex, id: i + 1, flags: 0 });
  });
  runtime.set({ index: 0 }, { policyEpoch: 1n, auditMode: 0 });
  for (const map of [endpoints, lxc, ipcache, policy, inner, runtime]) map.close();
}

async function attachAll(native: Native, node: Node, { programs }: Loaded): Promise<bpf.Attachment[]> {
  const at = (
    program: bpf.BpfProgram,
    ifindex: number,
    direction: 'ingress' | 'egress',
  ): Promise<bpf.Attachment> => bpf.attachTraffic(native, { program, ifindex, direction, netns: node.netns });
  const list: bpf.Attachment[] = [];
  for (const pod of node.pods) {
    list.push(await at(programs.fromContainer, pod.hostIndex, 'ingress'));
    list.push(await at(programs.toContainer, pod.hostIndex, 'egress'));
  }
  list.push(await at(programs.fromDevice, node.deviceIndex, 'ingress'));
  list.push(await at(programs.toDevice, node.deviceIndex, 'egress'));
  return list;
}

/** Loads our objects for a node of the topology; `pinDirectory` lies in a bpffs and holds the node's maps. */
export async function loadDatapath(
  native: Native,
  topology: Topology,
  node: Node,
  pinDirectory: string,
  options: DatapathOptions,
): Promise<NodeDatapath> {
  const loaded = await loadObjects(native, node, pinDirectory);
  await fillMaps(loaded.pods, node, topology, options.port);
  const ring = loaded.pods.mapFd(abi.eventsMap.name);
  const events = new Map<number, number>();
  const reader = new bpf.EventReader(native, ring, (batch) =>
    batch.forEach((bytes, offset) => {
      const type = bytes[offset + abi.PacketEventOffsets.type]!;
      events.set(type, (events.get(type) ?? 0) + 1);
    }),
  );
  let attachments: bpf.Attachment[] = [];
  const detach = async (): Promise<void> => {
    for (const attachment of attachments.splice(0)) await attachment.detach();
  };
  return {
    events,
    attach: async () => {
      attachments = await attachAll(native, node, loaded);
    },
    detach,
    close: async () => {
      await detach();
      reader.stop();
      native.fdClose({ fd: ring });
      for (const program of Object.values(loaded.programs)) program.close();
      loaded.pods.close();
      loaded.host.close();
    },
  };
}
