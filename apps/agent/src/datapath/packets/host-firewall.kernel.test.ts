// SPDX-License-Identifier: Apache-2.0
// Tested: policy of the node itself, on its device and towards its pods, and what happens before there is any.
// How: the compiled programs run on hand-made packets by BPF_PROG_TEST_RUN over maps filled here.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ConfigFlags, DropReason, EventType, TrafficDirection, type PacketEvent } from '@cilium-ts/abi';
import { Action, NODE, PacketLab, type LabPod } from './packet-lab.ts';
import { TcpFlag } from './packet.ts';
import { CLIENT, FAMILIES, REMOTE, STRANGER, TCP, packet } from './pods.ts';

const HOST: LabPod = { name: 'host', id: 77, identity: 1, ifindex: 0, mac: '02:00:00:00:00:fe', ...NODE };

let lab: PacketLab;
let nextPort = 30000;

beforeAll(async () => {
  lab = await PacketLab.create({ flags: PacketLab.defaultFlags | ConfigFlags.CONFIG_HOST_FIREWALL });
  await lab.addPod(CLIENT);
  await lab.addPod(HOST);
  for (const addr of [REMOTE.ipv4, REMOTE.ipv6])
    lab.ipcache.set({ addr }, { identity: REMOTE.identity, flags: 0, node: '' });
});
afterAll(() => lab.close());

function drops(events: PacketEvent[]): PacketEvent[] {
  return events.filter((event) => event.type === EventType.EVENT_DROP);
}

type End = Parameters<typeof packet>[1];

describe.each(FAMILIES)('the host firewall over %s', (family) => {
  const tcp = (
    from: End,
    to: End,
    port: number,
    sourcePort = nextPort++,
    tcpFlags: number = TcpFlag.syn,
  ): Uint8Array => packet(family, from, to, { protocol: 'tcp', sourcePort, destinationPort: port, tcpFlags });

  beforeEach(async () => {
    await lab.setPolicy(CLIENT, [{ direction: 'egress' }, { direction: 'ingress' }]);
    await lab.setPolicy(HOST, [{ direction: 'egress' }, { direction: 'ingress' }]);
    await lab.events();
  });

  test('lets in what a rule allows and drops the rest, naming the rule set', async () => {
    const ruleSet = await lab.setPolicy(HOST, [
      { direction: 'egress' },
      { direction: 'ingress', protocol: TCP, port: 22, origin: 5 },
    ]);
    expect(lab.run('cil_from_netdev', tcp(STRANGER, HOST, 22)).action).toBe(Action.ok);
    expect(lab.run('cil_from_netdev', tcp(STRANGER, HOST, 23)).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([
      {
        subtype: DropReason.DROP_POLICY_DENIED,
        direction: TrafficDirection.DIR_INGRESS,
        endpoint: HOST.id,
        ruleSet,
        policyPort: 23,
      },
    ]);
  });

  test('judges what the node opens, and lets the answers in', async () => {
    await lab.setPolicy(HOST, [{ direction: 'egress', protocol: TCP, port: 443 }]);
    const port = nextPort++;
    expect(lab.run('cil_to_netdev', tcp(HOST, STRANGER, 443, port)).action).toBe(Action.ok);
    const answer = tcp(STRANGER, HOST, port, 443, TcpFlag.syn | TcpFlag.ack);
    expect(lab.run('cil_from_netdev', answer).action).toBe(Action.ok);
    expect(lab.run('cil_to_netdev', tcp(HOST, STRANGER, 80)).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([{ direction: TrafficDirection.DIR_EGRESS }]);
  });

  test('judges pods that reach for the node, by their identity', async () => {
    await lab.setPolicy(HOST, [
      { direction: 'egress' },
      { direction: 'ingress', identity: CLIENT.identity, protocol: TCP, port: 9100 },
    ]);
    expect(lab.fromPod(CLIENT, tcp(CLIENT, HOST, 9100)).action).toBe(Action.ok);
    expect(lab.fromPod(CLIENT, tcp(CLIENT, HOST, 9101)).action).toBe(Action.drop);
  });

  test('judges the node that reaches for its pods', async () => {
    await lab.setPolicy(HOST, [{ direction: 'egress', protocol: TCP, port: 8080 }, { direction: 'ingress' }]);
    expect(lab.toPod(CLIENT, tcp(HOST, CLIENT, 8080)).action).toBe(Action.ok);
    expect(lab.toPod(CLIENT, tcp(HOST, CLIENT, 8081)).action).toBe(Action.drop);
    expect(lab.toPod(CLIENT, tcp(REMOTE, CLIENT, 8081)).action).toBe(Action.ok);
  });

  test('judges open connections anew when the policy changes', async () => {
    const port = nextPort++;
    expect(lab.run('cil_from_netdev', tcp(STRANGER, HOST, 22, port)).action).toBe(Action.ok);
    await lab.setPolicy(HOST, [{ direction: 'egress' }]);
    expect(lab.run('cil_from_netdev', tcp(STRANGER, HOST, 22, port, TcpFlag.ack)).action).toBe(Action.drop);
  });

  test('does not touch a node that never had a policy', () => {
    const row = lab.endpoints.get({ ifindex: 0 })!;
    lab.endpoints.delete({ ifindex: 0 });
    try {
      expect(lab.run('cil_from_netdev', tcp(STRANGER, HOST, 22)).action).toBe(Action.ok);
      expect(lab.run('cil_to_netdev', tcp(HOST, STRANGER, 22)).action).toBe(Action.ok);
    } finally {
      lab.endpoints.set({ ifindex: 0 }, row);
    }
  });
});

test('neighbours are found under every policy', async () => {
  await lab.setPolicy(HOST, []);
  const solicitation = packet('ipv6', STRANGER, HOST, { protocol: 'icmp', icmpType: 135 });
  expect(lab.run('cil_from_netdev', solicitation).action).toBe(Action.ok);
  const echo = packet('ipv6', STRANGER, HOST, { protocol: 'icmp', icmpType: 128 });
  expect(lab.run('cil_from_netdev', echo).action).toBe(Action.drop);
});
