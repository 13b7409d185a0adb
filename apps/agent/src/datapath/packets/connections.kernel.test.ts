// SPDX-License-Identifier: Apache-2.0
// Tested: connection tracking, ICMP errors, fragments, spoofed and broken packets of the pod programs.
// How: the compiled programs run on hand-made packets by BPF_PROG_TEST_RUN over maps filled here.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ConfigFlags, CtFlags, CtState, DropReason, EventType, TracePoint } from '@cilium-ts/abi';
import { Action, PacketLab } from './packet-lab.ts';
import { TcpFlag, buildPacket, readPacket } from './packet.ts';
import { CLIENT, FAMILIES, REMOTE, SERVER, packet } from './pods.ts';

let lab: PacketLab;
let nextPort = 20000;
const { syn, ack, fin, rst } = TcpFlag;

const EVENTS =
  ConfigFlags.CONFIG_DROP_EVENTS | ConfigFlags.CONFIG_TRACE_EVENTS | ConfigFlags.CONFIG_VERDICT_EVENTS;

async function prepare(on: PacketLab): Promise<void> {
  await on.addPod(CLIENT);
  await on.addPod(SERVER);
  for (const addr of [REMOTE.ipv4, REMOTE.ipv6]) {
    on.ipcache.set({ addr }, { identity: REMOTE.identity, flags: 0, node: '' });
  }
  await on.setPolicy(CLIENT, [{ direction: 'egress' }]);
  await on.setPolicy(SERVER, [{ direction: 'ingress', protocol: 6, port: 8080 }]);
}

beforeAll(async () => {
  lab = await PacketLab.create();
  await prepare(lab);
});
afterAll(() => lab.close());

async function lastDrop(): Promise<number | undefined> {
  return (await lab.events()).filter((event) => event.type === EventType.EVENT_DROP).at(-1)?.subtype;
}

describe.each(FAMILIES)('connections over %s', (family) => {
  const toServer = (sourcePort: number, tcpFlags: number, hops = 64): Uint8Array =>
    packet(family, CLIENT, SERVER, { protocol: 'tcp', sourcePort, destinationPort: 8080, tcpFlags, hops });
  const toClient = (port: number, tcpFlags: number): Uint8Array =>
    packet(family, SERVER, CLIENT, { protocol: 'tcp', sourcePort: 8080, destinationPort: port, tcpFlags });
  const find = async (map: PacketLab['connections'], port: number) =>
    (await map.entries()).find(
      ([key]) => [key.portLow, key.portHigh].includes(port) && [key.low, key.high].includes(CLIENT[family]),
    );
  const open = (port: number, on = lab): void => {
    on.fromPod(CLIENT, toServer(port, syn));
    on.fromPod(SERVER, toClient(port, syn | ack));
    on.fromPod(CLIENT, toServer(port, ack));
  };

  test('a TCP flow is half open until the opener answers the answer, then established', async () => {
    const port = nextPort++;
    lab.fromPod(CLIENT, toServer(port, syn));
    lab.fromPod(SERVER, toClient(port, syn | ack));
    expect((await find(lab.connections, port))![1].flags & CtFlags.CT_HALF_OPEN).toBeTruthy();
    lab.fromPod(CLIENT, toServer(port, ack));
    const [, entry] = (await find(lab.connections, port))!;
    expect(entry.flags & CtFlags.CT_HALF_OPEN).toBe(0);
    expect(entry).toMatchObject({ packetsOrigin: 2, packetsReply: 1, sourceIdentity: CLIENT.identity });
    expect(entry.flags & (CtFlags.CT_EGRESS_OK | CtFlags.CT_INGRESS_OK)).toBe(6);
  });

  test('lifetimes follow the state: SYN 60, established 8000, closing 10 seconds', async () => {
    const port = nextPort++;
    const now = Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n));
    lab.fromPod(CLIENT, toServer(port, syn));
    const half = (await find(lab.connections, port))![1].expires;
    expect(half - now).toBeGreaterThanOrEqual(58);
    expect(half - now).toBeLessThanOrEqual(63);
    lab.fromPod(SERVER, toClient(port, syn | ack));
    lab.fromPod(CLIENT, toServer(port, ack));
    const full = (await find(lab.connections, port))![1].expires;
    expect(full - half).toBeGreaterThanOrEqual(7930);
    lab.fromPod(CLIENT, toServer(port, fin | ack));
    lab.fromPod(SERVER, toClient(port, fin | ack));
    const closing = (await find(lab.connections, port))![1].expires;
    expect(closing).toBeLessThan(half);
  });

  test('a SYN on a closing flow opens a new one, judged from the start', async () => {
    const port = nextPort++;
    open(port);
    lab.fromPod(SERVER, toClient(port, rst | ack));
    lab.fromPod(CLIENT, toServer(port, syn));
    const [, entry] = (await find(lab.connections, port))!;
    expect(entry).toMatchObject({ packetsOrigin: 1, packetsReply: 0 });
    expect(entry.flags & CtFlags.CT_RST).toBe(0);
  });

  test('a SYN against the direction of a live flow is a new flow, and denied if nothing allows it', async () => {
    const port = nextPort++;
    open(port);
    expect(lab.fromPod(SERVER, toClient(port, syn)).action).toBe(Action.drop);
    expect(lab.fromPod(SERVER, toClient(port, ack)).action).toBe(Action.redirect);
  });

  test('a SYN against the direction of a live flow does not take its entry, even where it may pass', async () => {
    const port = nextPort++;
    open(port);
    await lab.setPolicy(SERVER, [{ direction: 'egress' }, { direction: 'ingress' }]);
    await lab.setPolicy(CLIENT, [{ direction: 'egress' }, { direction: 'ingress' }]);
    expect(lab.fromPod(SERVER, toClient(port, syn)).action).toBe(Action.redirect);
    const [, entry] = (await find(lab.connections, port))!;
    expect(entry).toMatchObject({ packetsOrigin: 2, packetsReply: 1 });
    await prepare(lab);
  });

  test('a flood of half-open flows does not evict an established one', async () => {
    const quiet = await PacketLab.create({ flags: PacketLab.defaultFlags & ~EVENTS });
    try {
      await prepare(quiet);
      const port = nextPort++;
      open(port, quiet);
      for (let i = 0; i < 6000; i++) quiet.fromPod(CLIENT, toServer(30000 + i, syn));
      expect(await find(quiet.connections, port)).toBeDefined();
      expect(quiet.fromPod(SERVER, toClient(port, ack)).action).toBe(Action.redirect);
      // The flood has a table of its own; who answers in it becomes a connection all the same.
      expect((await quiet.halfOpen.entries()).length).toBeGreaterThan(500);
      const later = nextPort++;
      quiet.fromPod(CLIENT, toServer(later, syn));
      quiet.fromPod(SERVER, toClient(later, syn | ack));
      const waiting = await find(quiet.halfOpen, later);
      expect(waiting ?? (await find(quiet.connections, later))).toBeDefined();
      quiet.fromPod(CLIENT, toServer(later, ack));
      expect(await find(quiet.halfOpen, later)).toBeUndefined();
      const entry = (await find(quiet.connections, later))![1];
      expect(entry).toMatchObject({ packetsOrigin: 2, packetsReply: 1 });
      expect(entry.flags & CtFlags.CT_HALF_OPEN).toBe(0);
    } finally {
      quiet.close();
    }
  });

  test('a delivered packet has one hop less and right checksums', () => {
    const result = lab.fromPod(CLIENT, toServer(nextPort++, syn, 9));
    expect(readPacket(result.packet)).toMatchObject({ hops: 8, checksumsRight: true });
    // The last hop is the stack's business: it answers with its ICMP error.
    expect(lab.fromPod(CLIENT, toServer(nextPort++, syn, 1)).action).toBe(Action.ok);
  });

  test('a flow is traced when it begins and when it closes, not for every packet', async () => {
    const port = nextPort++;
    open(port);
    await lab.events();
    lab.fromPod(CLIENT, toServer(port, ack));
    expect(await lab.events()).toEqual([]);
    lab.fromPod(CLIENT, toServer(port, fin | ack));
    expect(await lab.events()).toMatchObject([
      {
        type: EventType.EVENT_TRACE,
        subtype: TracePoint.TRACE_TO_ENDPOINT,
        ctState: CtState.CT_ESTABLISHED,
        sourceIdentity: CLIENT.identity,
        destinationIdentity: SERVER.identity,
        peerEndpoint: SERVER.id,
      },
    ]);
  });

  test('an ICMP error passes with the flow it speaks of, and only with it', async () => {
    const sourcePort = nextPort++;
    const sent = (port: number): Uint8Array =>
      packet(family, CLIENT, REMOTE, { protocol: 'udp', sourcePort: port, destinationPort: 53 });
    lab.fromPod(CLIENT, sent(sourcePort));
    const router = { ipv4: '192.168.77.9', ipv6: 'fd77::9' };
    const error = (port: number): Uint8Array =>
      packet(family, router, CLIENT, {
        protocol: 'icmp',
        icmpType: family === 'ipv4' ? 3 : 1,
        inner: sent(port).subarray(14),
      });
    expect(lab.run('cil_from_netdev', error(sourcePort)).action).toBe(Action.redirect);
    expect(lab.run('cil_from_netdev', error(nextPort++)).action).toBe(Action.drop);
    expect(lab.toPod(CLIENT, error(sourcePort)).action).toBe(Action.ok);
    await lab.events();
  });

  test('a pod speaks only with its own addresses', async () => {
    await lab.events();
    const stolen = packet(family, { ...SERVER, mac: CLIENT.mac }, REMOTE, { protocol: 'udp' });
    expect(lab.fromPod(CLIENT, stolen).action).toBe(Action.drop);
    expect(await lastDrop()).toBe(DropReason.DROP_INVALID_SOURCE_IP);
    const strangeMac = packet(family, { ...CLIENT, mac: SERVER.mac }, REMOTE, { protocol: 'udp' });
    expect(lab.fromPod(CLIENT, strangeMac).action).toBe(Action.drop);
    expect(await lastDrop()).toBe(DropReason.DROP_INVALID_SOURCE_MAC);
  });

  test('later fragments follow the first one, and are lost without it', async () => {
    const id = nextPort++;
    const fragment = (offset: number, more: boolean, fragmentId = id): Uint8Array =>
      packet(family, CLIENT, REMOTE, {
        protocol: 'udp',
        sourcePort: 4000,
        destinationPort: 53,
        payload: new Uint8Array(64),
        fragment: { id: fragmentId, offset, more },
      });
    await lab.setPolicy(CLIENT, [{ direction: 'egress', protocol: 17, port: 53 }]);
    await lab.events();
    expect(lab.fromPod(CLIENT, fragment(72, false)).action).toBe(Action.drop);
    expect(await lastDrop()).toBe(DropReason.DROP_FRAG_NOT_FOUND);
    expect(lab.fromPod(CLIENT, fragment(0, true)).action).toBe(Action.ok);
    expect(lab.fromPod(CLIENT, fragment(72, false)).action).toBe(Action.ok);
    await lab.setPolicy(CLIENT, [{ direction: 'egress' }]);
  });

  test('a packet that ends inside a header is dropped as invalid', async () => {
    const whole = toServer(nextPort++, syn);
    await lab.events();
    for (let length = 14; length < whole.length; length++) {
      // Shorter than an IP header is not accepted by the kernel's own test entry.
      const cut = whole.subarray(0, length);
      let action: number = Action.drop;
      try {
        action = lab.fromPod(CLIENT, cut).action;
      } catch {
        continue;
      }
      expect([length, action]).toEqual([length, Action.drop]);
    }
    const reasons = new Set((await lab.events()).map((event) => event.subtype));
    expect(reasons).toContain(DropReason.DROP_INVALID_PACKET);
  });

  test('options and extension headers in front of the ports are skipped', () => {
    const options =
      family === 'ipv4' ? new Uint8Array([1, 1, 1, 1]) : new Uint8Array([6, 0, 1, 4, 0, 0, 0, 0]);
    const withOptions = (port: number): Uint8Array =>
      packet(family, CLIENT, SERVER, {
        protocol: 'tcp',
        sourcePort: nextPort++,
        destinationPort: port,
        tcpFlags: syn,
        options,
      });
    expect(lab.fromPod(CLIENT, withOptions(8080)).action).toBe(Action.redirect);
    expect(lab.fromPod(CLIENT, withOptions(8081)).action).toBe(Action.drop);
  });
});

describe('the link layer', () => {
  test('ARP and neighbour discovery pass, other frames that are not IP do not', async () => {
    const frame = new Uint8Array(60);
    frame.set([0x08, 0x06], 12);
    expect(lab.fromPod(CLIENT, frame).action).toBe(Action.ok);
    const solicitation = buildPacket({
      source: 'fe80::1',
      destination: 'ff02::1:ff00:1',
      protocol: 'icmp',
      icmpType: 135,
      payload: new Uint8Array(24),
    });
    expect(lab.fromPod(CLIENT, solicitation).action).toBe(Action.ok);
    expect(lab.toPod(CLIENT, solicitation).action).toBe(Action.ok);
    frame.set([0x88, 0xcc], 12);
    await lab.events();
    expect(lab.fromPod(CLIENT, frame).action).toBe(Action.drop);
    expect(await lastDrop()).toBe(DropReason.DROP_UNSUPPORTED_L3);
  });

  test('an address of the mapped form on the wire is refused: it would be taken for IPv4', () => {
    const forged = buildPacket({
      source: `::ffff:${CLIENT.ipv4}`,
      destination: SERVER.ipv6,
      sourceMac: CLIENT.mac,
      protocol: 'udp',
    });
    expect(lab.fromPod(CLIENT, forged).action).toBe(Action.drop);
  });
});
