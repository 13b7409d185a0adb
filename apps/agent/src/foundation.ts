// SPDX-License-Identifier: Apache-2.0
// What every part stands on: logger, add-on, API server, tables, this node, the programs in the kernel.
import { join } from 'node:path';
import { AppError, Lifecycle } from '@cilium-ts/base';
import { inClusterConfig, KubeClient, loadKubeConfig, type KubeConfig } from '@cilium-ts/kube';
import { loadNative, type Native } from '@cilium-ts/native';
import { Netlink } from '@cilium-ts/netlink';
import { createLogger, createMetrics, type ComponentLogger, type Metrics } from '@cilium-ts/telemetry';
import type { AgentConfig } from './config.ts';
import { reserveNatPorts } from './node/nat-ports.ts';
import { Datapath } from './datapath/datapath.ts';
import { allWatches, createWatches, fillTables, type Watches } from './kubernetes/watches.ts';
import { nativeDevices } from './node/devices.ts';
import { ensureHostDevice, writeSysctls, type HostDevice } from './node/node-network.ts';
import { findOwnNode } from './kubernetes/own-node.ts';
import { createTables, type AgentTables, type NodeRow } from './rows.ts';
import { StateFile } from './state-file.ts';

export interface Foundation {
  readonly config: AgentConfig;
  readonly logger: ComponentLogger;
  readonly lifecycle: Lifecycle;
  readonly native: Native;
  readonly netlink: Netlink;
  readonly metrics: Metrics;
  readonly client: KubeClient;
  readonly kube: KubeConfig;
  readonly watches: Watches;
  readonly tables: AgentTables;
  readonly nodeName: string;
  readonly node: NodeRow;
  readonly device: { readonly name: string; readonly ifindex: number };
  readonly mtu: number;
  readonly hostDevice: HostDevice;
  readonly datapath: Datapath;
}

async function kubeConfig(config: AgentConfig): Promise<KubeConfig> {
  const server = config.text('k8s-api-server');
  const file = config.text('k8s-kubeconfig-path');
  if (file !== '') return loadKubeConfig({ file });
  if (server === '') return loadKubeConfig();
  return { ...inClusterConfig(), server };
}

function ownName(config: AgentConfig): string {
  const name = config.text('k8s-node-name') || process.env['K8S_NODE_NAME'] || '';
  if (name === '') throw new AppError('bad-config', 'the name of this node is unknown: set K8S_NODE_NAME');
  return name;
}

export async function layFoundation(config: AgentConfig): Promise<Foundation> {
  const level = config.bool('debug') ? 'debug' : (config.text('log-level') as 'info');
  const logger = createLogger({ component: 'cilium-agent', level });
  const lifecycle = new Lifecycle();
  if (process.getuid?.() !== 0) throw new AppError('not-root', 'the agent must run as root');
  for (const warning of config.warnings) logger.warn({}, warning);
  if (config.unknown.length > 0) logger.warn({ keys: config.unknown }, 'unknown configuration keys');
  const nodeName = ownName(config);
  const native = loadNative();
  const netlink = new Netlink(native);
  const kube = await kubeConfig(config);
  const client = new KubeClient(kube);
  lifecycle.onStop(() => client.close());
  const tables = createTables();
  const watches = createWatches(client, nodeName, logger);
  fillTables(watches, tables, nodeName);
  for (const watch of allWatches(watches)) lifecycle.add(watch.start());
  const memory = new StateFile<NodeRow>(join(config.text('state-dir'), 'state', 'node.json'), logger);
  const node = await findOwnNode(watches.nodes, nodeName, memory, logger);
  if (tables.nodes.get(nodeName) === undefined) tables.nodes.upsert(nodeName, node);
  const basics = {
    config,
    logger,
    lifecycle,
    native,
    netlink,
    client,
    kube,
    watches,
    tables,
    nodeName,
    node,
  };
  return { ...basics, metrics: createMetrics(), ...(await layKernel(basics)) };
}

async function layKernel(basics: {
  readonly config: AgentConfig;
  readonly logger: ComponentLogger;
  readonly native: Native;
  readonly netlink: Netlink;
  readonly node: NodeRow;
}): Promise<Pick<Foundation, 'device' | 'mtu' | 'hostDevice' | 'datapath'>> {
  const { config, logger, native, netlink, node } = basics;
  const [links, routes, addresses] = await Promise.all([
    netlink.links(),
    netlink.routes(),
    netlink.addresses(),
  ]);
  const devices = nativeDevices(config.text('devices'), { links, routes, addresses }, node.internalIps);
  const first = devices[0];
  if (!first)
    throw new AppError(
      'no-device',
      `no device has the address ${node.internalIps.join(' or ')}: set devices`,
    );
  const mtu = config.number('mtu') || first.mtu;
  const ipOf = (isV6: boolean): string => node.internalIps.find((ip) => ip.includes(':') === isV6) ?? '';
  const datapath = await Datapath.load(
    native,
    config,
    {
      ipv4: ipOf(false),
      ipv6: ipOf(true),
      podCidrs: node.podCidrs,
      nativeIfindex: first.index,
      natPorts: await reserveNatPorts(netlink, logger),
    },
    logger,
  );
  const hostDevice = await ensureHostDevice(netlink, node.podCidrs, mtu);
  await writeSysctls(netlink, logger);
  const found = devices.map((device) => ({ name: device.name, ifindex: device.index }));
  logger.info({ devices: found, mtu, gateways: hostDevice.gateways }, 'node network ready');
  return { device: found[0]!, mtu, hostDevice, datapath: await attach(datapath, found) };
}

async function attach(
  datapath: Datapath,
  devices: readonly { readonly name: string; readonly ifindex: number }[],
): Promise<Datapath> {
  await datapath.attachDevices(devices);
  await datapath.attachSockets();
  return datapath;
}
