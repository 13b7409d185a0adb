// SPDX-License-Identifier: Apache-2.0
// Tested: the ways into a pod and out of the node, fallbacks included, and a pod that reaches itself through a Service.
// How: the compiled programs run on hand-made packets by BPF_PROG_TEST_RUN over maps filled here.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ConfigFlags, EventType, SourceFile, TracePoint } from '@cilium-ts/abi';
import { forwardedMetric } from '@cilium-ts/agent-api';
import { Action, LOOPBACK, PacketLab } from './packet-lab.ts';
import { TcpFlag, readPacket } from './packet.ts';
import { CLIENT, FAMILIES, REMOTE, SERVER, TCP, packet, type Family } from './pods.ts';

const { syn, ack } = TcpFlag;
const VIP = { ipv4: '10.96.0.77', ipv6: 'fd00:10:96::77' };

async function openLab(flags: number): Promise<PacketLab> {
  const lab = await PacketLab.create({ flags });
  await lab.addPod(CLIENT);
  await lab.addPod(SERVER);
  await lab.setPolicy(CLIENT, [{ direction: 'egress' }]);
  await lab.setPolicy(SERVER, [{ direction: 'ingress', identity: CLIENT.identity }]);
  return lab;
}

function addService(lab: PacketLab, family: Family, backend: string): void {
  const slot = { port: 8080, protocol: TCP, flags: 0, backendId: 1 };
  lab.slots.set({ index: 10 }, { addr: backend, ...slot });
  lab.services.set(
    { addr: VIP[family], port: 80, protocol: TCP, scope: 0 },
    { id: 1, offset: 10, count: 1, generation: 1, affinityTimeout: 0, flags: 1 },
  );
  lab.reverseNat.set({ id: 1 }, { addr: VIP[family], port: 80 });
}

describe.each(FAMILIES)('delivery over %s', (family) => {
  let lab: PacketLab;
  afterEach(() => lab.close());

  const ask = (tcpFlags: number): Uint8Array =>
    packet(family, CLIENT, VIP, { protocol: 'tcp', sourcePort: 20000, destinationPort: 80, tcpFlags });
  const answer = (to: { ipv4: string; ipv6: string }, from = SERVER): Uint8Array =>
    packet(family, from, to, {
      protocol: 'tcp',
      sourcePort: 8080,
      destinationPort: 20000,
      tcpFlags: syn | ack,
    });

  describe('by the veth itself (no redirect-peer)', () => {
    beforeEach(async () => {
      lab = await openLab(PacketLab.defaultFlags & ~ConfigFlags.CONFIG_REDIRECT_PEER);
    });

    test('a Service on the same node: the answer is judged once, before it gets the Service’s address', () => {
      addService(lab, family, SERVER[family]);
      const there = lab.fromPod(CLIENT, ask(syn));
      expect(there.action).toBe(Action.redirect);
      expect(lab.toPod(SERVER, there.packet, there.mark)).toMatchObject({ action: Action.ok, mark: 0 });
      const back = lab.fromPod(SERVER, answer(CLIENT));
      expect(back.action).toBe(Action.redirect);
      expect(readPacket(back.packet)).toMatchObject({ source: VIP[family], checksumsRight: true });
      expect(lab.toPod(CLIENT, back.packet, back.mark)).toMatchObject({ action: Action.ok, mark: 0 });
    });

    test('a packet of the stack is judged: it has no mark', () => {
      const stray = packet(family, VIP, CLIENT, { protocol: 'tcp', sourcePort: 80, destinationPort: 20000 });
      expect(lab.toPod(CLIENT, stray).action).toBe(Action.drop);
      const denied = packet(family, CLIENT, SERVER, { protocol: 'udp', sourcePort: 1, destinationPort: 2 });
      expect(lab.toPod(SERVER, denied).action).toBe(Action.ok);
    });
  });

  test('forwarded packets are counted by direction and program, dropped ones are not among them', async () => {
    lab = await openLab(PacketLab.defaultFlags);
    const bytes = packet(family, CLIENT, SERVER, { protocol: 'udp', sourcePort: 5, destinationPort: 53 });
    for (let i = 0; i < 3; i++) lab.fromPod(CLIENT, bytes);
    lab.toPod(SERVER, bytes);
    lab.fromPod(SERVER, packet(family, SERVER, REMOTE, { protocol: 'udp' }));
    const totals = await lab.forwarded.totals((sum, value) => ({
      packets: sum.packets + value.packets,
      bytes: sum.bytes + value.bytes,
    }));
    const counted = totals.flatMap(([key, { packets, bytes }]) =>
      packets > 0n ? [{ ...forwardedMetric(key), packets, bytes }] : [],
    );
    const all = counted.reduce((sum, { packets }) => sum + packets, 0n);
    const size = counted.reduce((sum, each) => sum + each.bytes, 0n);
    expect(all).toBe(4n);
    expect(size).toBe(4n * BigInt(bytes.length));
    for (const each of counted) expect(each).toMatchObject({ reason: 0, file: SourceFile.FILE_BPF_LXC });
  });

  test('with redirect-peer a mark means nothing', async () => {
    lab = await openLab(PacketLab.defaultFlags);
    const marked = lab.fromPod(CLIENT, packet(family, CLIENT, SERVER, { protocol: 'udp' })).mark;
    expect(marked).toBe(0);
    const stray = packet(family, VIP, CLIENT, { protocol: 'tcp', sourcePort: 80, destinationPort: 20000 });
    for (const mark of [0xc5d10001, 1]) expect(lab.toPod(CLIENT, stray, mark).action).toBe(Action.drop);
  });

  test.each([
    ['without redirect-neigh a packet for another node goes to the stack, untouched', 0, 'TRACE_TO_STACK'],
    [
      'with it a destination that has no route here is left to the stack as well',
      ConfigFlags.CONFIG_REDIRECT_NEIGH,
      'TRACE_TO_NETWORK',
    ],
  ] as const)('%s', async (_, flag, point) => {
    lab = await openLab(PacketLab.defaultFlags | flag);
    lab.ipcache.set({ addr: REMOTE[family] }, { identity: REMOTE.identity, flags: 0, node: '' });
    const bytes = packet(family, CLIENT, REMOTE, { protocol: 'udp', sourcePort: 5, destinationPort: 53 });
    await lab.events();
    const sent = lab.fromPod(CLIENT, bytes);
    expect(sent.action).toBe(Action.ok);
    expect(Buffer.from(sent.packet)).toEqual(Buffer.from(bytes));
    const traces = (await lab.events()).filter((event) => event.type === EventType.EVENT_TRACE);
    expect(traces).toMatchObject([{ subtype: TracePoint[point] }]);
  });

  test('a pod reaches itself through its Service, there and back, whatever its policy', async () => {
    lab = await openLab(PacketLab.defaultFlags);
    await lab.setPolicy(CLIENT, []);
    addService(lab, family, CLIENT[family]);
    const loopback = { ipv4: LOOPBACK.ipv4, ipv6: LOOPBACK.ipv6 };
    for (const flags of [syn, ack]) {
      const there = lab.fromPod(CLIENT, ask(flags));
      expect(there.action).toBe(Action.redirect);
      expect(readPacket(there.packet)).toMatchObject({
        source: loopback[family],
        sourcePort: 20000,
        destination: CLIENT[family],
        destinationPort: 8080,
        checksumsRight: true,
      });
      if (flags !== syn) continue;
      const back = lab.fromPod(CLIENT, answer(loopback, CLIENT));
      expect(back.action).toBe(Action.redirect);
      expect(readPacket(back.packet)).toMatchObject({
        source: VIP[family],
        sourcePort: 80,
        destination: CLIENT[family],
        destinationPort: 20000,
        checksumsRight: true,
      });
    }
    const forged = packet(family, loopback, CLIENT, {
      protocol: 'tcp',
      sourcePort: 20000,
      destinationPort: 8080,
      tcpFlags: ack,
    });
    expect(lab.run('cil_from_netdev', forged).action).toBe(Action.drop);
  });
});
