// SPDX-License-Identifier: Apache-2.0
// Tested: event records become flows. How: hand-made bytes, lookups that are literals.
import {
  CtState,
  EventFlags,
  EventType,
  PacketEventCodec,
  PolicyVerdict,
  TrafficDirection,
} from '@cilium-ts/abi';
import { describe, expect, test } from '@jest/globals';
import {
  DropReason,
  Flow,
  FlowType,
  IPVersion,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection as FlowDirection,
  Verdict,
} from '@cilium-ts/proto';
import { takeRecord } from './decode.ts';
import {
  BACKEND,
  CLUSTER,
  flowOf,
  FRONTEND,
  ipv4,
  record,
  SYN_ACK,
  tcpFlow,
  tcpHeader,
  udpHeader,
} from './test-events.ts';

describe('traces', () => {
  test('a new connection is forwarded, leaving, not a reply, and both ends have names', () => {
    const flow = tcpFlow({ ifindex: 12 });
    expect(flow).toMatchObject({
      Type: FlowType.L3_L4,
      verdict: Verdict.FORWARDED,
      nodeName: 'node1',
      time: { seconds: 1_772_615_702n, nanos: 417_000_000 },
      IP: { source: '10.244.1.5', destination: '10.244.2.9', ipVersion: IPVersion.IPv4, sourceXlated: '' },
      ethernet: { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' },
      source: { ID: 7, identity: FRONTEND.identity, namespace: 'production', podName: FRONTEND.podName },
      destination: { ID: 0, identity: BACKEND.identity, podName: 'backend-0', labels: BACKEND.labels },
      eventType: { type: 4, subType: 0 },
      traceObservationPoint: TraceObservationPoint.TO_ENDPOINT,
      traceReason: TraceReason.NEW,
      trafficDirection: FlowDirection.EGRESS,
      isReply: false,
      reply: false,
      interface: { index: 12, name: 'lxc12' },
      Summary: 'TCP Flags: SYN',
    });
    expect(flow.l4?.protocol).toMatchObject({
      $case: 'TCP',
      value: { sourcePort: 41_822, destinationPort: 8080, flags: { SYN: true, ACK: false } },
    });
    expect(flow.source?.workloads).toEqual([{ name: 'frontend', kind: 'Deployment' }]);
    expect(flow.uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('a reply that leaves belongs to an ingress connection', () => {
    const flow = tcpFlow({ ctState: CtState.CT_REPLY }, SYN_ACK);
    expect(flow).toMatchObject({
      isReply: true,
      reply: true,
      trafficDirection: FlowDirection.INGRESS,
      traceReason: TraceReason.REPLY,
      Summary: 'TCP Flags: SYN, ACK',
    });
  });

  test('the address before translation is the source, the one in the packet is its translation', () => {
    const flow = flowOf(
      record(ipv4(6, tcpHeader(8080, 41_822, SYN_ACK), { from: [10, 96, 0, 7], to: [10, 244, 1, 5] }), {
        originalIp: '10.244.2.9',
        sourceIdentity: BACKEND.identity,
        ctState: CtState.CT_REPLY,
      }),
    );
    expect(flow.IP).toMatchObject({ source: '10.244.2.9', sourceXlated: '10.96.0.7' });
    expect(flow.source?.podName).toBe('backend-0');
    expect(flow.sourceService).toEqual({ namespace: 'production', name: 'backend' });
  });

  test('an event has the same uuid for every reader, and no other event has it', () => {
    const uuids = [
      tcpFlow({ sequence: 1 }),
      tcpFlow({ sequence: 1 }),
      tcpFlow({ sequence: 2 }),
      tcpFlow({ cpu: 1 }),
    ];
    expect(new Set(uuids.map((flow) => flow.uuid)).size).toBe(3);
  });
});

describe('policy', () => {
  const DENIED = { type: EventType.EVENT_DROP, ruleSet: 3, file: 10, line: 88 } as const;

  test('a default deny names the policies that isolate the endpoint', () => {
    const flow = tcpFlow({ ...DENIED, subtype: 133 });
    expect(flow).toMatchObject({
      verdict: Verdict.DROPPED,
      dropReason: 133,
      dropReasonDesc: DropReason.POLICY_DENIED,
      eventType: { type: 1, subType: 133 },
      file: { line: 88 },
      isReply: undefined,
      ingressDeniedBy: [],
    });
    expect(flow.file?.name).not.toBe('');
    expect(flow.egressDeniedBy).toEqual([
      {
        kind: 'CiliumNetworkPolicy',
        namespace: 'production',
        name: 'allow-frontend-to-backend',
        revision: 0n,
        labels: ['cilium-ts.io/path=egress', 'cilium-ts.io/line=2', 'cilium-ts.io/default-deny=true'],
      },
    ]);
  });

  test('a deny rule names its path and line', () => {
    const flow = tcpFlow({ ...DENIED, subtype: 181, origin: 1 });
    expect(flow.dropReasonDesc).toBe(DropReason.POLICY_DENY);
    expect(flow.egressDeniedBy[0]?.labels).toEqual([
      'cilium-ts.io/path=egress[0].toPorts[0]',
      'cilium-ts.io/line=7',
    ]);
  });

  test('other drops name no policy', () => {
    const flow = tcpFlow({ ...DENIED, subtype: 132 });
    expect(flow.dropReasonDesc).toBe(DropReason.INVALID_SOURCE_IP);
    expect([...flow.egressDeniedBy, ...flow.ingressDeniedBy]).toEqual([]);
  });

  test.each([
    [PolicyVerdict.VERDICT_ALLOWED, 1, Verdict.FORWARDED, 0],
    [PolicyVerdict.VERDICT_AUDITED, 0, Verdict.AUDIT, 0],
    [PolicyVerdict.VERDICT_DENIED, 0, Verdict.DROPPED, DropReason.POLICY_DENIED],
    [PolicyVerdict.VERDICT_DENIED, 1, Verdict.DROPPED, DropReason.POLICY_DENY],
    [PolicyVerdict.VERDICT_DENIED, 2, Verdict.DROPPED, DropReason.POLICY_UNENFORCED],
  ])('verdict event %i of entry %i', (subtype, origin, verdict, reason) => {
    const type = EventType.EVENT_POLICY_VERDICT;
    const flow = tcpFlow({ type, subtype, origin, ruleSet: 3, matchType: 2 });
    expect(flow).toMatchObject({
      verdict,
      dropReason: reason,
      policyMatchType: 2,
      eventType: { type: 5, subType: 0 },
    });
    const allowed = subtype === PolicyVerdict.VERDICT_ALLOWED;
    expect(flow.egressAllowedBy).toHaveLength(allowed ? 1 : 0);
    expect(flow.egressDeniedBy).toHaveLength(allowed ? 0 : 1);
  });

  test('a drop on the way in is of the ingress side', () => {
    const flow = tcpFlow({ ...DENIED, subtype: 181, origin: 1, direction: TrafficDirection.DIR_INGRESS });
    expect(flow.trafficDirection).toBe(FlowDirection.INGRESS);
    expect(flow.ingressDeniedBy).toHaveLength(1);
  });
});

describe('packets', () => {
  test.each([
    ['UDP', ipv4(17, udpHeader(5353, 53)), 'UDP'],
    ['ICMP', ipv4(1, [8, 0, 0, 0]), 'ICMPv4 EchoRequest'],
    ['ICMP error', ipv4(1, [3, 3, 0, 0]), 'ICMPv4 DestinationUnreachable(Port)'],
    ['SCTP', ipv4(132, [0x10, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4]), 'SCTP'],
    ['another protocol', ipv4(47, [0, 0, 0, 0]), 'IPv4'],
    ['no IP', Uint8Array.from([...new Array<number>(12).fill(2), 0x08, 0x06, 0, 1]), 'Ethernet'],
    ['cut-off TCP', ipv4(6, [0, 1, 0, 2]), 'IPv4'],
    ['nothing', new Uint8Array(0), 'Ethernet'],
  ])('%s', (_, packet, summary) => {
    expect(flowOf(record(packet)).Summary).toBe(summary);
  });

  test('IPv6 behind a hop-by-hop header, without Ethernet', () => {
    const source = [0xfd, 0, 0, 0x10, 2, 0x44, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
    const extension = [6, 0, 0, 0, 0, 0, 0, 0];
    const head = [0x60, 0, 0, 0, 0, 28, 0, 64, ...source, ...source];
    const packet = Uint8Array.from([...head, ...extension, ...tcpHeader(1, 8080, 2)]);
    const flow = flowOf(record(packet, { flags: EventFlags.EVENT_L3_DEVICE | EventFlags.EVENT_IPV6 }));
    expect(flow.ethernet).toBeUndefined();
    expect(flow.IP).toMatchObject({ source: 'fd00:10:244:1::5', ipVersion: IPVersion.IPv6 });
    expect(flow.l4?.protocol).toMatchObject({ $case: 'TCP', value: { destinationPort: 8080 } });
  });

  test('any cut of a record gives a flow or nothing, and every flow can be encoded', () => {
    const whole = record(ipv4(6, tcpHeader(41_822, 8080, 2)));
    for (let length = 0; length <= whole.length; length++) {
      const taken = takeRecord(CLUSTER, whole, 0, length);
      expect(taken === undefined).toBe(length < PacketEventCodec.size);
      if (taken) expect(Flow.encode(flowOf(whole.slice(0, length))).finish().length).toBeGreaterThan(0);
    }
  });

  test('a record has its own copy of its bytes, and does not keep the batch', () => {
    const one = record(ipv4(17, udpHeader(1, 2)));
    const batch = new Uint8Array(4096);
    batch.set(one, 128);
    const taken = takeRecord(CLUSTER, batch, 128, one.length);
    expect(taken?.bytes).toEqual(one);
    expect(taken?.bytes.buffer).not.toBe(batch.buffer);
    const next = takeRecord(CLUSTER, batch, 128, one.length);
    batch.fill(0);
    expect(taken?.bytes).toEqual(one);
    expect(next?.bytes).toEqual(one);
    expect(next?.bytes.buffer).toBe(taken?.bytes.buffer);
  });
});
