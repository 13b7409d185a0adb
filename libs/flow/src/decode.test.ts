// SPDX-License-Identifier: Apache-2.0
// Tested: events of the datapath as flows. How: records made by hand, lookups from literals, random bytes.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DropReason, Flow, TraceReason, TrafficDirection, Verdict } from '@cilium-ts/proto';
import { buildFlow, takeRecord } from './index.ts';
import { eventBytes, lookupsOf, packetBytes, SEED_LOOKUPS, type PacketInput } from './testing.ts';

const lookups = lookupsOf({ ...SEED_LOOKUPS, clockOffset: 1_772_615_702_000_000_000n });
const SYN: PacketInput = {
  source: '10.244.1.7',
  destination: '10.244.2.9',
  protocol: 6,
  sourcePort: 41822,
  destinationPort: 8080,
  flags: 2,
};

function flowOf(event: Parameters<typeof eventBytes>[0], packet: PacketInput = SYN): Flow {
  const bytes = eventBytes(
    { time: 417_000_000n, sourceIdentity: 18211, destinationIdentity: 20455, ...event },
    packetBytes(packet),
  );
  const ring = new Uint8Array(bytes.length + 32);
  ring.set(bytes, 16);
  return buildFlow(lookups, takeRecord(lookups, ring, 16, bytes.length)!);
}

describe('traces', () => {
  test('a forwarded SYN has addresses, ports, names, identities and time', () => {
    const flow = flowOf({ type: 4, subtype: 0, direction: 0, ifindex: 7 });
    expect(flow).toMatchObject({
      verdict: Verdict.FORWARDED,
      ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      IP: { source: '10.244.1.7', destination: '10.244.2.9', ipVersion: 1, sourceXlated: '' },
      l4: {
        protocol: {
          $case: 'TCP',
          value: { sourcePort: 41822, destinationPort: 8080, flags: { SYN: true, ACK: false } },
        },
      },
      source: {
        ID: 12,
        identity: 18211,
        namespace: 'production',
        podName: 'frontend-6f9c7d8b5c-x7k2p',
        workloads: [{ kind: 'Deployment', name: 'frontend' }],
      },
      destination: {
        identity: 20455,
        podName: 'backend-0',
        workloads: [{ kind: 'StatefulSet', name: 'backend' }],
      },
      Type: 1,
      nodeName: 'node1',
      eventType: { type: 4, subType: 0 },
      traceObservationPoint: 101,
      traceReason: TraceReason.NEW,
      isReply: false,
      interface: { index: 7, name: 'lxc7' },
      Summary: 'TCP Flags: SYN',
      time: { seconds: 1_772_615_702n, nanos: 417_000_000 },
    });
    expect(flow.uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test.each([
    ['leaving', 1, 0, TrafficDirection.EGRESS, false],
    ['entering', 0, 0, TrafficDirection.INGRESS, false],
    ['a reply that leaves', 1, 2, TrafficDirection.INGRESS, true],
    ['a reply that enters', 0, 2, TrafficDirection.EGRESS, true],
  ])('%s belongs to the connection’s direction', (_, direction, ctState, expected, isReply) => {
    const flow = flowOf({ type: 4, subtype: 3, direction, ctState });
    expect(flow.trafficDirection).toBe(expected);
    expect(flow.isReply).toBe(isReply);
    expect(flow.reply).toBe(isReply);
  });

  test('an address before translation becomes the source', () => {
    const flow = flowOf({ originalIp: '10.244.1.9' });
    expect(flow.IP).toMatchObject({ source: '10.244.1.9', sourceXlated: '10.244.1.7' });
  });

  test('a service address is named', () => {
    const flow = flowOf({}, { ...SYN, destination: '10.96.0.20' });
    expect(flow.destinationService).toEqual({ namespace: 'production', name: 'backend' });
  });
});

describe('drops and verdicts', () => {
  test('a default deny names the policies that isolate, with path and line', () => {
    const flow = flowOf({
      type: 1,
      subtype: 133,
      direction: 1,
      ruleSet: 3,
      file: 10,
      line: 77,
      destinationIdentity: 2,
    });
    expect(flow).toMatchObject({
      verdict: Verdict.DROPPED,
      dropReason: 133,
      dropReasonDesc: DropReason.POLICY_DENIED,
      isReply: undefined,
      file: { name: 'policy.h', line: 77 },
      egressDeniedBy: [
        {
          kind: 'CiliumNetworkPolicy',
          namespace: 'production',
          name: 'allow-frontend-to-backend',
          labels: ['cilium-ts.io/path=egress', 'cilium-ts.io/line=5', 'cilium-ts.io/default-deny=true'],
        },
      ],
      ingressDeniedBy: [],
    });
  });

  test('a dropped reply is judged on the opener’s side', () => {
    const flow = flowOf({ type: 1, subtype: 133, direction: 0, ctState: 2, ruleSet: 3 });
    expect(flow.egressDeniedBy).toHaveLength(1);
  });

  test('an allowed verdict names the rule', () => {
    const flow = flowOf({ type: 5, subtype: 1, direction: 1, ruleSet: 3, origin: 1, matchType: 2 });
    expect(flow).toMatchObject({ verdict: Verdict.FORWARDED, policyMatchType: 2, isReply: false });
    expect(flow.egressAllowedBy[0]?.labels).toEqual([
      'cilium-ts.io/path=egress[0].toPorts[0]',
      'cilium-ts.io/line=9',
    ]);
  });

  test('a denied verdict tells deny rules from default deny', () => {
    const denied = flowOf({ type: 5, subtype: 0, direction: 0, ruleSet: 4, origin: 2 });
    expect(denied).toMatchObject({ verdict: Verdict.DROPPED, dropReasonDesc: DropReason.POLICY_DENY });
    expect(denied.ingressDeniedBy[0]).toMatchObject({
      kind: 'CiliumClusterwideNetworkPolicy',
      namespace: '',
    });
    expect(flowOf({ type: 5, subtype: 0, direction: 1, ruleSet: 3 }).dropReasonDesc).toBe(
      DropReason.POLICY_DENIED,
    );
    expect(flowOf({ type: 5, subtype: 2, direction: 1, ruleSet: 3 }).verdict).toBe(Verdict.AUDIT);
  });

  test('a rule set nobody knows any more leaves the list empty', () => {
    expect(flowOf({ type: 1, subtype: 133, direction: 1, ruleSet: 99 }).egressDeniedBy).toEqual([]);
  });
});

describe('protocols', () => {
  test.each([
    ['UDP', { ...SYN, protocol: 17 }, 'UDP'],
    ['SCTP', { ...SYN, protocol: 132 }, 'SCTP'],
    ['ICMPv4', { ...SYN, protocol: 1, type: 8 }, 'ICMPv4 EchoRequest'],
    ['ICMPv4', { ...SYN, protocol: 1, type: 3, code: 3 }, 'ICMPv4 DestinationUnreachable(Port)'],
    [
      'ICMPv6',
      { source: 'fd00:10:244:1::7', destination: 'fd00::2', protocol: 58, type: 129 },
      'ICMPv6 EchoReply',
    ],
    ['TCP', { ...SYN, flags: 0x12 }, 'TCP Flags: SYN, ACK'],
  ])('%s', (name, packet, summary) => {
    const flow = flowOf({}, packet);
    expect(flow.l4?.protocol?.$case).toBe(name);
    expect(flow.Summary).toBe(summary);
  });

  test('a later fragment has addresses and no ports', () => {
    const flow = flowOf({}, { ...SYN, protocol: 17, fragmentOffset: 1480 });
    expect(flow.IP?.source).toBe('10.244.1.7');
    expect(flow.l4).toBeUndefined();
  });
});

test('no bytes make it throw, and what it makes can be encoded', () => {
  const property = fc.property(fc.uint8Array({ minLength: 0, maxLength: 220 }), (bytes) => {
    const record = takeRecord(lookups, bytes, 0, bytes.length);
    if (record) Flow.decode(Flow.encode(buildFlow(lookups, record)).finish());
  });
  fc.assert(property, { numRuns: 2000 });
});
