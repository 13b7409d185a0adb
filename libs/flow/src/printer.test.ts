// SPDX-License-Identifier: Apache-2.0
// Tested: what users read. How: golden lines.
import { CtState, EventType, PolicyVerdict } from '@cilium-ts/abi';
import { LostEventSource } from '@cilium-ts/proto';
import { describe, expect, test } from '@jest/globals';
import { compactFlow, dictFlow, jsonResponse, lostText, tableFlow, type PrintOptions } from './printer.ts';
import { flowOf, ipv4, record, SYN_ACK, tcpFlow, tcpHeader } from './test-events.ts';

const PLAIN: PrintOptions = {
  time: 'StampMilli',
  color: false,
  nodeName: false,
  debug: false,
  translate: true,
  policyNames: false,
};
const FRONTEND = 'production/frontend-6f9c7d8b5-x2x4z';
const ENDS = `${FRONTEND}:41822 (ID:18211) -> production/backend-0:8080 (ID:20455)`;

describe('compact', () => {
  test('a forwarded packet', () => {
    expect(compactFlow(tcpFlow(), PLAIN)).toBe(
      `Mar  4 09:15:02.417: ${ENDS} to-endpoint FORWARDED (TCP Flags: SYN)`,
    );
  });

  test('a reply swaps the sides, the node is named where asked', () => {
    const reply = flowOf(
      record(ipv4(6, tcpHeader(8080, 41_822, SYN_ACK), { from: [10, 244, 2, 9], to: [10, 244, 1, 5] }), {
        ctState: CtState.CT_REPLY,
        sourceIdentity: 20_455,
        destinationIdentity: 18_211,
      }),
    );
    expect(compactFlow(reply, { ...PLAIN, nodeName: true })).toBe(
      `Mar  4 09:15:02.417 [node1]: ${ENDS.replace('->', '<-')} to-endpoint FORWARDED (TCP Flags: SYN, ACK)`,
    );
  });

  test('a default deny names the isolating policy', () => {
    const flow = tcpFlow({ type: EventType.EVENT_DROP, subtype: 133, ruleSet: 3 });
    const line = compactFlow(flow, PLAIN);
    expect(line).toContain(
      ' Policy denied DROPPED (TCP Flags: SYN) BY CNP production/allow-frontend-to-backend egress ',
    );
    expect(line).toMatch(/line 2\b.*default deny/);
  });

  test('a deny rule is named with its path and line', () => {
    const flow = tcpFlow({ type: EventType.EVENT_DROP, subtype: 181, ruleSet: 3, origin: 1 });
    const line = compactFlow(flow, PLAIN);
    expect(line).toContain('Policy denied by denylist DROPPED');
    expect(line).toMatch(
      / BY CNP production\/allow-frontend-to-backend egress\[0\]\.toPorts\[0\] .*line 7\b/,
    );
  });

  test('a policy verdict', () => {
    const type = EventType.EVENT_POLICY_VERDICT;
    const flow = tcpFlow({
      type,
      subtype: PolicyVerdict.VERDICT_ALLOWED,
      ruleSet: 3,
      origin: 1,
      matchType: 2,
    });
    expect(compactFlow(flow, PLAIN)).toContain(' policy-verdict:L3-L4 EGRESS ALLOWED (TCP Flags: SYN)');
  });

  test('addresses on request; the world by its name', () => {
    const world = flowOf(
      record(ipv4(6, tcpHeader(50_112, 443, 2), { to: [203, 0, 113, 9] }), { destinationIdentity: 2 }),
    );
    const line = compactFlow(world, { ...PLAIN, translate: false });
    expect(line).toContain('10.244.1.5:50112 (ID:18211) -> 203.0.113.9:443 (world)');
  });

  test('nothing of a flow reaches the terminal as a control sequence', () => {
    const flow = tcpFlow();
    flow.source!.podName = '\x1b[2Jevil\r';
    expect(compactFlow(flow, PLAIN)).toContain('production/^[[2Jevil\\r:41822');
  });
});

test('dict', () => {
  expect(dictFlow(tcpFlow(), PLAIN).split('\n')).toEqual([
    '  TIMESTAMP: Mar  4 09:15:02.417',
    `     SOURCE: ${FRONTEND}:41822`,
    'DESTINATION: production/backend-0:8080',
    '       TYPE: to-endpoint',
    '    VERDICT: FORWARDED',
    '    SUMMARY: TCP Flags: SYN',
  ]);
});

test('table', () => {
  const sides = [`${FRONTEND}:41822`, 'production/backend-0:8080'];
  const rest = ['to-endpoint', 'FORWARDED', 'TCP Flags: SYN'];
  expect(tableFlow(tcpFlow(), PLAIN)).toEqual(['Mar  4 09:15:02.417', ...sides, ...rest]);
});

test('json has the names of the interface, enum names, and nothing that is unset', () => {
  const flow = tcpFlow();
  const response = {
    responseTypes: { $case: 'flow' as const, value: flow },
    nodeName: 'node1',
    time: flow.time,
  };
  const json = JSON.parse(jsonResponse(response)) as {
    flow: Record<string, unknown>;
    time: string;
    node_name: string;
  };
  expect(json.time).toBe('2026-03-04T09:15:02.417Z');
  expect(json.node_name).toBe('node1');
  expect(json.flow).toMatchObject({
    verdict: 'FORWARDED',
    IP: { source: '10.244.1.5', destination: '10.244.2.9', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 41_822, destination_port: 8080, flags: { SYN: true } } },
    Type: 'L3_L4',
    event_type: { type: 4 },
    is_reply: false,
    Summary: 'TCP Flags: SYN',
  });
  expect(json.flow).not.toHaveProperty('l7');
  expect(json.flow).not.toHaveProperty('drop_reason');
});

test('lost events', () => {
  const lost = {
    source: LostEventSource.HUBBLE_RING_BUFFER,
    numEventsLost: 12n,
    cpu: 0,
    first: undefined,
    last: undefined,
  };
  expect(lostText(lost, PLAIN)).toBe('EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12');
});
