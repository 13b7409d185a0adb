// SPDX-License-Identifier: Apache-2.0
// Tested: the exact lines of every output format. How: golden texts.
import { describe, expect, test } from '@jest/globals';
import { GetFlowsResponse, LostEvent, NodeState } from '@cilium-ts/proto';
import {
  buildFlow,
  compactFlow,
  dictFlow,
  formatTime,
  jsonResponse,
  lostText,
  nodeStatusText,
  tableFlow,
  takeRecord,
  timestamp,
  type PrintOptions,
} from './index.ts';
import { eventBytes, lookupsOf, packetBytes, SEED_LOOKUPS, type PacketInput } from './testing.ts';

const TIME = BigInt(Date.parse('2026-03-04T09:15:02.417Z')) * 1_000_000n;
const lookups = lookupsOf(SEED_LOOKUPS);
const OPTIONS: PrintOptions = {
  time: 'StampMilli',
  color: false,
  nodeName: false,
  translate: true,
  policyNames: false,
  debug: false,
};
const SYN: PacketInput = {
  source: '10.244.1.7',
  destination: '10.244.2.9',
  protocol: 6,
  sourcePort: 41822,
  destinationPort: 8080,
};
const make = (event: Parameters<typeof eventBytes>[0], packet = SYN) => {
  const bytes = eventBytes(
    { time: TIME, sourceIdentity: 18211, destinationIdentity: 20455, ...event },
    packetBytes(packet),
  );
  return buildFlow(lookups, takeRecord(lookups, bytes, 0, bytes.length)!);
};
const FORWARDED = make({});
const REPLY = make(
  { ctState: 2, sourceIdentity: 20455, destinationIdentity: 18211, direction: 0 },
  {
    ...SYN,
    source: '10.244.2.9',
    destination: '10.244.1.7',
    sourcePort: 8080,
    destinationPort: 41822,
    flags: 0x12,
  },
);
const DENY = { direction: 1, ruleSet: 3, destinationIdentity: 2 };
const WORLD = { ...SYN, destination: '203.0.113.9', destinationPort: 443 };
const DROPPED = make({ type: 1, subtype: 133, ...DENY }, WORLD);
const DENIED = make({ type: 5, subtype: 0, ...DENY }, WORLD);
const ALLOWED = make({ type: 5, subtype: 1, direction: 1, ruleSet: 3, origin: 1, matchType: 2 });
const BY = ' BY CNP production/allow-frontend-to-backend egress (spec line 5) (default deny egress)';

describe('compact', () => {
  test.each([
    [
      'forwarded',
      FORWARDED,
      'Mar  4 09:15:02.417: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) -> production/backend-0:8080 (ID:20455) to-endpoint FORWARDED (TCP Flags: SYN)',
    ],
    [
      'a reply keeps the opener on the left',
      REPLY,
      'Mar  4 09:15:02.417: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) <- production/backend-0:8080 (ID:20455) to-endpoint FORWARDED (TCP Flags: SYN, ACK)',
    ],
    [
      'a drop names the policy',
      DROPPED,
      `Mar  4 09:15:02.417: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) <> 203.0.113.9:443 (world) Policy denied DROPPED (TCP Flags: SYN)${BY}`,
    ],
    [
      'a denied verdict',
      DENIED,
      `Mar  4 09:15:02.417: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) <> 203.0.113.9:443 (world) policy-verdict:none EGRESS DENIED (TCP Flags: SYN)${BY}`,
    ],
    [
      'an allowed verdict',
      ALLOWED,
      'Mar  4 09:15:02.417: production/frontend-6f9c7d8b5c-x7k2p:41822 (ID:18211) -> production/backend-0:8080 (ID:20455) policy-verdict:L3-L4 EGRESS ALLOWED (TCP Flags: SYN)',
    ],
  ])('%s', (_, flow, line) => expect(compactFlow(flow, OPTIONS)).toBe(line));

  test('with node, addresses, policy names', () => {
    const line = compactFlow(ALLOWED, { ...OPTIONS, nodeName: true, translate: false, policyNames: true });
    expect(line).toBe(
      'Mar  4 09:15:02.417 [node1]: 10.244.1.7:41822 (ID:18211) -> 10.244.2.9:8080 (ID:20455) policy-verdict:L3-L4 EGRESS ALLOWED (TCP Flags: SYN) BY CNP production/allow-frontend-to-backend egress[0].toPorts[0] (spec line 9)',
    );
  });

  test('IPv6 with a port has brackets, colours are ours only', () => {
    const flow = make({ sourceIdentity: 0 }, { ...SYN, source: 'fd00::1', destination: 'fd00::2' });
    flow.Summary = 'evil\x1b[2J\r';
    expect(compactFlow(flow, OPTIONS)).toContain('[fd00::1]:41822 (unknown) -> [fd00::2]:8080 (ID:20455)');
    expect(compactFlow(flow, OPTIONS)).toContain('(evil^[[2J\\r)');
    expect(compactFlow(FORWARDED, { ...OPTIONS, color: true })).toContain('\x1b[32mFORWARDED\x1b[0m');
  });
});

test('dict', () => {
  expect(dictFlow(DROPPED, OPTIONS)).toBe(
    `  TIMESTAMP: Mar  4 09:15:02.417
     SOURCE: production/frontend-6f9c7d8b5c-x7k2p:41822
DESTINATION: 203.0.113.9:443
       TYPE: Policy denied
    VERDICT: DROPPED
    SUMMARY: TCP Flags: SYN
     POLICY: CNP production/allow-frontend-to-backend egress (spec line 5) (default deny egress)`,
  );
});

test('table', () => {
  expect(tableFlow(FORWARDED, OPTIONS)).toEqual([
    'Mar  4 09:15:02.417',
    'production/frontend-6f9c7d8b5c-x7k2p:41822',
    'production/backend-0:8080',
    'to-endpoint',
    'FORWARDED',
    'TCP Flags: SYN',
  ]);
});

test('json has the names of the API and survives a round trip', () => {
  const response = GetFlowsResponse.fromPartial({
    responseTypes: { $case: 'flow', value: DROPPED },
    nodeName: 'node1',
    time: timestamp(TIME + 1n),
  });
  const text = jsonResponse(response);
  const json = JSON.parse(text) as { flow: Record<string, unknown>; time: string };
  expect(json.time).toBe('2026-03-04T09:15:02.417000001Z');
  expect(json.flow).toMatchObject({
    time: '2026-03-04T09:15:02.417Z',
    verdict: 'DROPPED',
    drop_reason_desc: 'POLICY_DENIED',
    event_type: { type: 1, sub_type: 133 },
    traffic_direction: 'EGRESS',
    egress_denied_by: [
      { name: 'allow-frontend-to-backend', namespace: 'production', kind: 'CiliumNetworkPolicy' },
    ],
    Summary: 'TCP Flags: SYN',
  });
  expect(json.flow).not.toHaveProperty('is_reply');
  expect(GetFlowsResponse.fromJSON(JSON.parse(text))).toEqual(response);
});

test('losses and nodes', () => {
  const lost = LostEvent.fromPartial({
    source: 3,
    numEventsLost: 12n,
    cpu: 0,
    first: timestamp(TIME),
    last: timestamp(TIME),
  });
  expect(lostText(lost, OPTIONS)).toBe(
    'EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12 (first: Mar  4 09:15:02.417, last: Mar  4 09:15:02.417)',
  );
  const status = { stateChange: NodeState.NODE_UNAVAILABLE, nodeNames: ['a', 'b'], message: '' };
  expect(nodeStatusText(status, false)).toBe('2 nodes are unavailable: a, b');
  expect(nodeStatusText({ ...status, stateChange: NodeState.NODE_CONNECTED }, false)).toBeUndefined();
  expect(nodeStatusText({ ...status, stateChange: NodeState.NODE_ERROR, message: 'x' }, false)).toBe(
    'Error "x" on 2 nodes: a, b',
  );
  const many = Array.from({ length: 20 }, (_, i) => `node${i}`);
  expect(nodeStatusText({ ...status, nodeNames: many }, false)).toMatch(/\(and \d+ more\)$/);
});

test.each([
  ['RFC3339', '2026-03-04T09:15:02Z'],
  ['RFC3339Micro', '2026-03-04T09:15:02.417000Z'],
  ['RFC3339Nano', '2026-03-04T09:15:02.417Z'],
  ['RFC1123Z', 'Wed, 04 Mar 2026 09:15:02 +0000'],
  ['YearMonthDay', '2026-03-04'],
] as const)('time as %s', (format, text) => expect(formatTime(timestamp(TIME), format)).toBe(text));
