// SPDX-License-Identifier: Apache-2.0
// Tested: which packets the pod programs let pass, and what their events say about the rule that decided.
// How: the compiled programs run on hand-made packets by BPF_PROG_TEST_RUN over maps filled here.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  DropReason,
  EndpointFlags,
  EventType,
  PolicyMatch,
  PolicyVerdict,
  TrafficDirection,
  type PacketEvent,
} from '@cilium-ts/abi';
import { Action, PacketLab } from './packet-lab.ts';
import { TcpFlag } from './packet.ts';
import { CLIENT, FAMILIES, REMOTE, SERVER, STRANGER, TCP, UDP, packet } from './pods.ts';

let lab: PacketLab;
let nextPort = 20000;

beforeAll(async () => {
  lab = await PacketLab.create();
  await lab.addPod(CLIENT);
  await lab.addPod(SERVER);
  for (const addr of [REMOTE.ipv4, REMOTE.ipv6]) {
    lab.ipcache.set({ addr }, { identity: REMOTE.identity, flags: 0, node: '' });
  }
});
afterAll(() => lab.close());

const ALLOW_OUT = { direction: 'egress', origin: 9 } as const;
const ALLOW_IN_8080 = {
  direction: 'ingress',
  identity: CLIENT.identity,
  protocol: TCP,
  port: 8080,
  origin: 7,
} as const;

function drops(events: PacketEvent[]): PacketEvent[] {
  return events.filter((event) => event.type === EventType.EVENT_DROP);
}

describe.each(FAMILIES)('policy over %s', (family) => {
  const syn = (port = 8080, sourcePort = nextPort++): Uint8Array =>
    packet(family, CLIENT, SERVER, {
      protocol: 'tcp',
      sourcePort,
      destinationPort: port,
      tcpFlags: TcpFlag.syn,
    });

  test('a connection that both ends allow is delivered, with one verdict for each end', async () => {
    const egress = await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    const ingress = await lab.setPolicy(SERVER, [ALLOW_IN_8080]);
    await lab.events();
    expect(lab.fromPod(CLIENT, syn()).action).toBe(Action.redirect);
    const verdicts = (await lab.events()).filter((event) => event.type === EventType.EVENT_POLICY_VERDICT);
    expect(verdicts).toMatchObject([
      {
        subtype: PolicyVerdict.VERDICT_ALLOWED,
        direction: TrafficDirection.DIR_EGRESS,
        ruleSet: egress,
        origin: 9,
        matchType: PolicyMatch.MATCH_ALL,
        sourceIdentity: CLIENT.identity,
        destinationIdentity: SERVER.identity,
      },
      {
        subtype: PolicyVerdict.VERDICT_ALLOWED,
        direction: TrafficDirection.DIR_INGRESS,
        ruleSet: ingress,
        origin: 7,
        matchType: PolicyMatch.MATCH_L3_L4,
        endpoint: SERVER.id,
        policyPort: 8080,
      },
    ]);
  });

  test('what no entry allows is denied by default, and the event names the rule set', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    const ruleSet = await lab.setPolicy(SERVER, [ALLOW_IN_8080]);
    await lab.events();
    expect(lab.fromPod(CLIENT, syn(9090)).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([
      {
        subtype: DropReason.DROP_POLICY_DENIED,
        direction: TrafficDirection.DIR_INGRESS,
        ruleSet,
        origin: 0,
        policyPort: 9090,
        sourceIdentity: CLIENT.identity,
        destinationIdentity: SERVER.identity,
      },
    ]);
  });

  test('an explicit deny beats an allow, whichever of the two is wider', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    await lab.setPolicy(SERVER, [ALLOW_IN_8080, { direction: 'ingress', verdict: 'deny', origin: 3 }]);
    await lab.events();
    expect(lab.fromPod(CLIENT, syn()).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([
      { subtype: DropReason.DROP_POLICY_DENY_LIST, origin: 3 },
    ]);
    await lab.setPolicy(SERVER, [
      { direction: 'ingress', origin: 1 },
      { ...ALLOW_IN_8080, verdict: 'deny', origin: 4 },
    ]);
    await lab.events();
    expect(lab.fromPod(CLIENT, syn()).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([{ origin: 4 }]);
  });

  test('an allow that depends on what is not enforced yet drops with a reason of its own', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    await lab.setPolicy(SERVER, [{ ...ALLOW_IN_8080, verdict: 'unenforced' }]);
    await lab.events();
    expect(lab.fromPod(CLIENT, syn()).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([
      { subtype: DropReason.DROP_POLICY_UNENFORCED, origin: 7 },
    ]);
  });

  test('a missing rule set fails closed', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    for (const ruleSet of [0, 4_000_000]) {
      lab.setEndpoint(SERVER, { ruleSet });
      lab.raiseEpoch();
      await lab.events();
      expect(lab.fromPod(CLIENT, syn()).action).toBe(Action.drop);
      expect(drops(await lab.events())).toMatchObject([{ subtype: DropReason.DROP_NO_RULE_SET, ruleSet }]);
    }
  });

  test('replies pass although nothing allows their direction', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    await lab.setPolicy(SERVER, [ALLOW_IN_8080]);
    const sourcePort = nextPort++;
    expect(lab.fromPod(CLIENT, syn(8080, sourcePort)).action).toBe(Action.redirect);
    const reply = packet(family, SERVER, CLIENT, {
      protocol: 'tcp',
      sourcePort: 8080,
      destinationPort: sourcePort,
      tcpFlags: TcpFlag.syn | TcpFlag.ack,
    });
    expect(lab.fromPod(SERVER, reply).action).toBe(Action.redirect);
    // The same packet out of nowhere is a new flow, which nothing allows.
    const stray = packet(family, SERVER, CLIENT, {
      protocol: 'tcp',
      sourcePort: 8080,
      destinationPort: nextPort++,
      tcpFlags: TcpFlag.syn | TcpFlag.ack,
    });
    expect(lab.fromPod(SERVER, stray).action).toBe(Action.drop);
  });

  test('a changed policy judges an open connection at its next packet, in both directions', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    await lab.setPolicy(SERVER, [ALLOW_IN_8080]);
    const sourcePort = nextPort++;
    const data = (flags: number): Uint8Array =>
      packet(family, CLIENT, SERVER, {
        protocol: 'tcp',
        sourcePort,
        destinationPort: 8080,
        tcpFlags: flags,
      });
    const reply = packet(family, SERVER, CLIENT, {
      protocol: 'tcp',
      sourcePort: 8080,
      destinationPort: sourcePort,
      tcpFlags: TcpFlag.ack,
    });
    lab.fromPod(CLIENT, data(TcpFlag.syn));
    lab.fromPod(SERVER, reply);
    expect(lab.fromPod(CLIENT, data(TcpFlag.ack)).action).toBe(Action.redirect);

    // Without a raised epoch the rule set is not asked again: that is the fast path.
    const before = lab.endpoints.get({ ifindex: 100 + SERVER.id })!;
    lab.setEndpoint(SERVER, { ruleSet: 0 });
    expect(lab.fromPod(CLIENT, data(TcpFlag.ack)).action).toBe(Action.redirect);
    lab.setEndpoint(SERVER, { ruleSet: before.ruleSet });

    const denied = await lab.setPolicy(SERVER, [{ ...ALLOW_IN_8080, port: 9090 }]);
    await lab.events();
    expect(lab.fromPod(SERVER, reply).action).toBe(Action.drop);
    expect(lab.fromPod(CLIENT, data(TcpFlag.ack)).action).toBe(Action.drop);
    expect(drops(await lab.events())).toMatchObject([
      { subtype: DropReason.DROP_POLICY_DENIED, ruleSet: denied, endpoint: SERVER.id },
      { subtype: DropReason.DROP_POLICY_DENIED, ruleSet: denied, endpoint: SERVER.id },
    ]);

    await lab.setPolicy(SERVER, [ALLOW_IN_8080]);
    expect(lab.fromPod(CLIENT, data(TcpFlag.ack)).action).toBe(Action.redirect);
    expect(lab.fromPod(SERVER, reply).action).toBe(Action.redirect);
  });

  test('another pod of the cluster is known by its identity, a stranger is world', async () => {
    await lab.setPolicy(SERVER, [
      { direction: 'ingress', identity: REMOTE.identity, protocol: UDP, port: 53 },
    ]);
    const query = (from: typeof STRANGER): Uint8Array =>
      packet(family, from, SERVER, { protocol: 'udp', sourcePort: nextPort, destinationPort: 53 });
    await lab.events();
    expect(lab.run('cil_from_netdev', query(REMOTE)).action).toBe(Action.redirect);
    expect(lab.run('cil_from_netdev', query(STRANGER)).action).toBe(Action.drop);
    expect(lab.toPod(SERVER, query(REMOTE)).action).toBe(Action.ok);
    expect(drops(await lab.events())).toMatchObject([{ sourceIdentity: 2 }]);
  });

  test('the node passes the default deny, but not a deny that names it or everyone', async () => {
    const node = { ipv4: '192.168.77.1', ipv6: 'fd77::1' };
    lab.lxc.set({ addr: node[family] }, { ifindex: 0, id: 9, flags: EndpointFlags.ENDPOINT_HOST });
    const probe = (): Uint8Array =>
      packet(family, node, SERVER, {
        protocol: 'tcp',
        sourcePort: nextPort++,
        destinationPort: 8080,
        tcpFlags: TcpFlag.syn,
      });
    await lab.setPolicy(SERVER, []);
    expect(lab.toPod(SERVER, probe()).action).toBe(Action.ok);
    for (const identity of [1, 0]) {
      await lab.setPolicy(SERVER, [{ direction: 'ingress', identity, verdict: 'deny', origin: 5 }]);
      await lab.events();
      expect(lab.toPod(SERVER, probe()).action).toBe(Action.drop);
      expect(drops(await lab.events())).toMatchObject([
        { subtype: DropReason.DROP_POLICY_DENY_LIST, sourceIdentity: 1, origin: 5 },
      ]);
    }
    lab.lxc.delete({ addr: node[family] });
  });

  test('ICMP is asked by its type', async () => {
    await lab.setPolicy(CLIENT, [ALLOW_OUT]);
    const type = family === 'ipv4' ? 8 : 128;
    const protocol = family === 'ipv4' ? 1 : 58;
    const ping = (): Uint8Array =>
      packet(family, CLIENT, SERVER, { protocol: 'icmp', sourcePort: nextPort++ });
    await lab.setPolicy(SERVER, [{ direction: 'ingress', protocol, port: type + 1 }]);
    expect(lab.fromPod(CLIENT, ping()).action).toBe(Action.drop);
    await lab.setPolicy(SERVER, [{ direction: 'ingress', protocol, port: type }]);
    expect(lab.fromPod(CLIENT, ping()).action).toBe(Action.redirect);
  });
});
