// SPDX-License-Identifier: Apache-2.0
// Tested: per-packet Services and masquerade, there and back, with all checksums.
// How: the compiled programs run on hand-made packets by BPF_PROG_TEST_RUN over maps filled here.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DropReason, EventType, ServiceFlags } from '@cilium-ts/abi';
import { Action, NODE, PacketLab } from './packet-lab.ts';
import { TcpFlag, readPacket } from './packet.ts';
import { CLIENT, FAMILIES, REMOTE, SERVER, STRANGER, TCP, UDP, packet } from './pods.ts';

let lab: PacketLab;
let nextPort = 20000;
const { syn, ack } = TcpFlag;
const VIP = { ipv4: '10.96.0.77', ipv6: 'fd00:10:96::77' };

beforeAll(async () => {
  lab = await PacketLab.create();
  await lab.addPod(CLIENT);
  await lab.addPod(SERVER);
  await lab.setPolicy(CLIENT, [{ direction: 'egress' }]);
  await lab.setPolicy(SERVER, [{ direction: 'ingress', identity: CLIENT.identity }]);
  for (const addr of [REMOTE.ipv4, REMOTE.ipv6]) {
    lab.ipcache.set({ addr }, { identity: REMOTE.identity, flags: 0, node: '' });
  }
});
afterAll(() => lab.close());

async function lastDrop(): Promise<number | undefined> {
  return (await lab.events()).filter((event) => event.type === EventType.EVENT_DROP).at(-1)?.subtype;
}

describe.each(FAMILIES)('translation over %s', (family) => {
  function service(
    id: number,
    protocol: number,
    backends: string[],
    generation = 1,
    affinityTimeout = 0,
  ): void {
    const affine = affinityTimeout > 0 ? ServiceFlags.SERVICE_AFFINITY : 0;
    const flags = ServiceFlags.SERVICE_CLUSTER_IP | affine;
    backends.forEach((addr, i) =>
      lab.slots.set({ index: id * 10 + i }, { addr, port: 8080, protocol, flags: 0, backendId: i + 1 }),
    );
    lab.services.set(
      { addr: VIP[family], port: 80, protocol, scope: 0 },
      { id, offset: id * 10, count: backends.length, generation, affinityTimeout, flags },
    );
    lab.reverseNat.set({ id }, { addr: VIP[family], port: 80 });
  }
  const ask = (sourcePort: number, protocol: 'tcp' | 'udp', tcpFlags: number = syn): Uint8Array =>
    packet(family, CLIENT, VIP, { protocol, sourcePort, destinationPort: 80, tcpFlags });

  test.each(['tcp', 'udp'] as const)(
    'a %s Service leads to a backend, and its reply comes from the Service',
    (name) => {
      service(1, name === 'tcp' ? TCP : UDP, [SERVER[family]]);
      const sourcePort = nextPort++;
      const there = lab.fromPod(CLIENT, ask(sourcePort, name));
      expect(there.action).toBe(Action.redirect);
      expect(readPacket(there.packet)).toMatchObject({
        source: CLIENT[family],
        destination: SERVER[family],
        destinationPort: 8080,
        checksumsRight: true,
      });
      const reply = packet(family, SERVER, CLIENT, {
        protocol: name,
        sourcePort: 8080,
        destinationPort: sourcePort,
        tcpFlags: syn | ack,
      });
      const back = lab.fromPod(SERVER, reply);
      expect(back.action).toBe(Action.redirect);
      expect(readPacket(back.packet)).toMatchObject({
        source: VIP[family],
        sourcePort: 80,
        destinationPort: sourcePort,
        checksumsRight: true,
      });
    },
  );

  test('a flow keeps its backend, other flows spread', () => {
    service(2, TCP, [SERVER[family], REMOTE[family]]);
    const chosen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const sourcePort = nextPort++;
      const first = readPacket(lab.fromPod(CLIENT, ask(sourcePort, 'tcp')).packet).destination;
      const next = readPacket(lab.fromPod(CLIENT, ask(sourcePort, 'tcp', ack)).packet).destination;
      expect(next).toBe(first);
      chosen.add(first);
    }
    expect([...chosen].sort()).toEqual([SERVER[family], REMOTE[family]].sort());
  });

  describe('with session affinity', () => {
    const chosen = (flows = 30): string[] => {
      const backends = Array.from(
        { length: flows },
        () => readPacket(lab.fromPod(CLIENT, ask(nextPort++, 'tcp')).packet).destination,
      );
      return [...new Set(backends)].sort();
    };
    const both = [SERVER[family], REMOTE[family]].sort();

    test('all flows of a client go to one backend, as long as the Service has it', () => {
      service(6, TCP, both, 1, 100);
      const first = chosen();
      expect(first).toHaveLength(1);
      const other = both.find((one) => one !== first[0])!;
      service(6, TCP, [other, first[0]!], 2, 100);
      expect(chosen()).toEqual(first);
      service(6, TCP, [other], 3, 100);
      expect(chosen()).toEqual([other]);
      service(6, TCP, both, 4, 100);
      expect(chosen()).toEqual([other]);
    });

    test('who stayed away for longer than the timeout is free to go elsewhere', async () => {
      service(7, TCP, both, 1, 100);
      chosen(1);
      const [key, value] = (await lab.affinity.entries()).find(
        ([{ service: id, client }]) => id === 7 && client === CLIENT[family],
      )!;
      const seen = new Set<string>();
      for (let i = 0; i < 40; i++) {
        lab.affinity.set(key, { ...value, last: value.last - 100 });
        for (const backend of chosen(1)) seen.add(backend);
      }
      expect([...seen].sort()).toEqual(both);
      lab.affinity.set(key, { ...value, last: value.last - 90 });
      expect(chosen()).toEqual([value.addr]);
    });
  });

  test('a Service without backends drops with a reason of its own', async () => {
    service(3, TCP, []);
    await lab.events();
    expect(lab.fromPod(CLIENT, ask(nextPort++, 'tcp')).action).toBe(Action.drop);
    expect(await lastDrop()).toBe(DropReason.DROP_NO_BACKEND);
  });

  test('a direct flow on the port of an earlier Service flow is not coloured by it', () => {
    service(4, TCP, [SERVER[family]]);
    const sourcePort = nextPort++;
    lab.fromPod(CLIENT, ask(sourcePort, 'tcp'));
    const direct = packet(family, CLIENT, SERVER, {
      protocol: 'tcp',
      sourcePort,
      destinationPort: 8080,
      tcpFlags: syn,
    });
    lab.fromPod(CLIENT, direct);
    const reply = packet(family, SERVER, CLIENT, {
      protocol: 'tcp',
      sourcePort: 8080,
      destinationPort: sourcePort,
      tcpFlags: syn | ack,
    });
    expect(readPacket(lab.fromPod(SERVER, reply).packet).source).toBe(SERVER[family]);
  });

  test.each(['tcp', 'udp', 'icmp'] as const)(
    '%s to the outside leaves with the node address and finds back',
    (name) => {
      const sourcePort = nextPort++;
      const flow = { protocol: name, sourcePort, destinationPort: name === 'icmp' ? sourcePort : 443 };
      const out = packet(family, CLIENT, STRANGER, { ...flow, tcpFlags: syn });
      expect(lab.fromPod(CLIENT, out).action).toBe(Action.ok);
      const sent = readPacket(lab.run('cil_to_netdev', out).packet);
      expect(sent).toMatchObject({
        source: NODE[family],
        destination: STRANGER[family],
        checksumsRight: true,
      });
      expect(sent.sourcePort).toBeGreaterThanOrEqual(61000);
      // The same flow keeps its port.
      expect(readPacket(lab.run('cil_to_netdev', out).packet).sourcePort).toBe(sent.sourcePort);
      const reply = packet(family, STRANGER, NODE, {
        protocol: name,
        sourcePort: name === 'icmp' ? sent.sourcePort : 443,
        destinationPort: sent.sourcePort,
        tcpFlags: syn | ack,
        ...(name === 'icmp' ? { icmpType: family === 'ipv4' ? 0 : 129 } : {}),
      });
      const back = lab.run('cil_from_netdev', reply);
      expect(back.action).toBe(Action.redirect);
      expect(readPacket(back.packet)).toMatchObject({
        source: STRANGER[family],
        destination: CLIENT[family],
        destinationPort: sourcePort,
        checksumsRight: true,
      });
    },
  );

  test('an ICMP error about a masqueraded flow reaches the pod in the words of the pod', () => {
    const sourcePort = nextPort++;
    const out = packet(family, CLIENT, STRANGER, { protocol: 'udp', sourcePort, destinationPort: 443 });
    lab.fromPod(CLIENT, out);
    const sent = lab.run('cil_to_netdev', out).packet;
    const error = packet(family, { ipv4: '192.168.77.254', ipv6: 'fd77::fe' }, NODE, {
      protocol: 'icmp',
      icmpType: family === 'ipv4' ? 3 : 2,
      inner: sent.subarray(14),
    });
    const back = lab.run('cil_from_netdev', error);
    expect(back.action).toBe(Action.redirect);
    const read = readPacket(back.packet);
    expect(read).toMatchObject({ destination: CLIENT[family], checksumsRight: true });
    const inner = new Uint8Array([...new Uint8Array(14), ...read.transport.subarray(8)]);
    inner.set(family === 'ipv4' ? [8, 0] : [0x86, 0xdd], 12);
    expect(readPacket(inner)).toMatchObject({ source: CLIENT[family], sourcePort });
  });

  test("a pod's ICMP error about an answer leaves in the words of the node", () => {
    const sourcePort = nextPort++;
    const out = packet(family, CLIENT, STRANGER, { protocol: 'udp', sourcePort, destinationPort: 443 });
    lab.fromPod(CLIENT, out);
    const sent = readPacket(lab.run('cil_to_netdev', out).packet);
    const answer = packet(family, STRANGER, CLIENT, {
      protocol: 'udp',
      sourcePort: 443,
      destinationPort: sourcePort,
    });
    const unreachable = packet(family, CLIENT, STRANGER, {
      protocol: 'icmp',
      icmpType: family === 'ipv4' ? 3 : 1,
      inner: answer.subarray(14),
    });
    const left = lab.run('cil_to_netdev', unreachable);
    expect(left.action).toBe(Action.ok);
    const read = readPacket(left.packet);
    expect(read).toMatchObject({ source: NODE[family], destination: STRANGER[family], checksumsRight: true });
    const inner = new Uint8Array([...new Uint8Array(14), ...read.transport.subarray(8)]);
    inner.set(family === 'ipv4' ? [8, 0] : [0x86, 0xdd], 12);
    expect(readPacket(inner)).toMatchObject({
      destination: NODE[family],
      destinationPort: sent.sourcePort,
    });
  });

  test('inside the cluster, and to nodes, pods keep their address', () => {
    const otherNode = { ipv4: '192.168.77.2', ipv6: 'fd77::2' };
    lab.ipcache.set({ addr: otherNode[family] }, { identity: 6, flags: 0, node: '' });
    for (const to of [REMOTE, otherNode]) {
      const out = packet(family, CLIENT, to, {
        protocol: 'udp',
        sourcePort: nextPort++,
        destinationPort: 53,
      });
      expect(readPacket(lab.run('cil_to_netdev', out).packet).source).toBe(CLIENT[family]);
    }
  });

  test('the node keeps its own packets as they are', () => {
    const own = packet(family, NODE, STRANGER, { protocol: 'tcp', sourcePort: 40000, destinationPort: 443 });
    expect(lab.run('cil_to_netdev', own)).toMatchObject({ action: Action.ok, packet: own });
    const answer = packet(family, STRANGER, NODE, {
      protocol: 'tcp',
      sourcePort: 443,
      destinationPort: 62000,
    });
    expect(lab.run('cil_from_netdev', answer)).toMatchObject({ action: Action.ok, packet: answer });
  });
});
