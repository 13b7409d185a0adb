// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from '../runtime/runtime.ts';
import type { SandboxLayout } from './layout.ts';
import type { ClusterPlan, NodePlan } from './plan.ts';
import { runTool } from './tools.ts';

const NODE_SYSCTLS = [
  'net/ipv4/ip_forward=1',
  'net/ipv6/conf/all/forwarding=1',
  'net/ipv4/conf/all/rp_filter=0',
  'net/ipv4/conf/default/rp_filter=0',
  'net/ipv4/conf/all/accept_local=1',
  'net/ipv6/conf/all/accept_dad=0',
  'net/ipv6/conf/default/accept_dad=0',
  'net/ipv6/conf/all/accept_ra=0',
  'net/ipv6/conf/default/accept_ra=0',
  'net/ipv4/ping_group_range=0 2147483647',
];

const WIRE_SYSCTLS = ['net/ipv6/conf/all/accept_dad=0', 'net/ipv6/conf/default/accept_dad=0'];

export function wireNetns(layout: SandboxLayout): string {
  return `${layout.prefix}wire`;
}

export function nodeNetns(layout: SandboxLayout, node: NodePlan): string {
  return `${layout.prefix}${node.name}`;
}

/** Namespaces of the wire and all nodes, joined by veths on one bridge. @throws AppError */
export async function buildNetwork(
  runtime: Runtime,
  layout: SandboxLayout,
  plan: ClusterPlan,
): Promise<void> {
  // The first one also prepares /run/netns; the others then need no order.
  const wire = wireNetns(layout);
  await runtime.createNetns(wire, WIRE_SYSCTLS);
  await Promise.all(plan.nodes.map((node) => runtime.createNetns(nodeNetns(layout, node), NODE_SYSCTLS)));
  await runTool('ip', ['-n', wire, '-batch', '-'], wireBatch(layout, plan));
  await Promise.all(
    plan.nodes.map((node) =>
      runTool('ip', ['-n', nodeNetns(layout, node), '-batch', '-'], nodeBatch(plan, node)),
    ),
  );
}

function wireBatch(layout: SandboxLayout, plan: ClusterPlan): string {
  const lines = [
    'link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0',
    `address add ${plan.wire.ipv4}/24 dev br0`,
    `address add ${plan.wire.ipv6}/64 dev br0 nodad`,
    'link set br0 up',
  ];
  for (const node of plan.nodes) {
    lines.push(
      `link add ${node.name} type veth peer name eth0 netns ${nodeNetns(layout, node)}`,
      `link set ${node.name} master br0 up`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Nodes reach the pods of each other by the agents' routes; only the way out is set here. */
function nodeBatch(plan: ClusterPlan, node: NodePlan): string {
  return [
    `address add ${node.ipv4}/24 dev eth0`,
    `address add ${node.ipv6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${plan.wire.ipv4} dev eth0`,
    `route add ::/0 via ${plan.wire.ipv6} dev eth0`,
    '',
  ].join('\n');
}
