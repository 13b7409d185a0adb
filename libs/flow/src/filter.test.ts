// SPDX-License-Identifier: Apache-2.0
// Tested: what FlowFilters match and refuse; field masks. How: tables over flows made from events.
import { describe, expect, test } from '@jest/globals';
import { FlowFilter } from '@cilium-ts/proto';
import { buildFlow, compileFilters, compileMask, labelSelector, takeRecord } from './index.ts';
import { eventBytes, lookupsOf, packetBytes, SEED_LOOKUPS } from './testing.ts';

const lookups = lookupsOf(SEED_LOOKUPS);
const packet = {
  source: '10.244.1.7',
  destination: '10.244.2.9',
  protocol: 6,
  sourcePort: 41822,
  destinationPort: 8080,
  flags: 0x12,
};
const make = (event: Parameters<typeof eventBytes>[0], input = packet) => {
  const bytes = eventBytes(
    { sourceIdentity: 18211, destinationIdentity: 20455, ...event },
    packetBytes(input),
  );
  return buildFlow(lookups, takeRecord(lookups, bytes, 0, bytes.length)!);
};
const forwarded = make({ ifindex: 7 });
const dropped = make(
  { type: 1, subtype: 133, direction: 1, ruleSet: 3, destinationIdentity: 2 },
  { ...packet, destination: '10.0.0.1' },
);

type Input = Record<string, unknown>;

const YES: [Input][] = [
  [{ source_ip: ['10.244.1.7'] }],
  [{ source_ip: ['10.0.0.1', '10.244.0.0/16'] }],
  [{ destination_ip: ['10.244.2.0/24'] }],
  [{ source_pod: ['production/front'] }],
  [{ source_pod: ['production/'] }],
  [{ source_pod: ['/front'] }],
  [{ destination_pod: ['production/backend-0'] }],
  [{ verdict: ['FORWARDED'] }],
  [{ event_type: [{ type: 4 }] }],
  [{ event_type: [{ type: 4, match_sub_type: true, sub_type: 0 }] }],
  [{ source_label: ['app=frontend'] }],
  [{ source_label: ['k8s:app in (web, frontend)'] }],
  [{ destination_label: ['tier'] }],
  [{ destination_label: ['!other,app!=frontend'] }],
  [{ protocol: ['TCP'] }],
  [{ source_port: ['41822'], destination_port: ['80', '8080'] }],
  [{ reply: [false] }],
  [{ source_identity: [18211] }],
  [{ tcp_flags: [{ SYN: true }] }],
  [{ tcp_flags: [{ SYN: true, ACK: true }] }],
  [{ node_name: ['node*'] }],
  [{ node_name: ['default/node1'] }],
  [{ ip_version: ['IPv4'] }],
  [{ source_workload: [{ name: 'frontend' }] }],
  [{ destination_workload: [{ kind: 'StatefulSet' }] }],
  [{ traffic_direction: ['INGRESS'] }],
  [{ interface: [{ name: 'lxc7' }] }],
  [{ source_cluster_name: ['default'] }],
  [{ encrypted: [false] }],
  [{ uuid: [forwarded.uuid] }],
];

const NO: [Input][] = [
  [{ source_ip: ['10.244.1.8'] }],
  [{ source_ip: ['fd00::/8'] }],
  [{ source_pod: ['front'] }],
  [{ source_pod: ['default/front'] }],
  [{ verdict: ['DROPPED'] }],
  [{ event_type: [{ type: 1 }] }],
  [{ event_type: [{ type: 4, match_sub_type: true, sub_type: 3 }] }],
  [{ source_label: ['app=backend'] }],
  [{ protocol: ['udp'] }],
  [{ source_port: ['8080'] }],
  [{ reply: [true] }],
  [{ tcp_flags: [{ FIN: true }] }],
  [{ node_name: ['other/node1'] }],
  [{ source_fqdn: ['*'] }],
  [{ drop_reason_desc: ['POLICY_DENIED'] }],
  [{ source_service: ['production/'] }],
];

const passes = (allow: Input[], deny: Input[] = []) =>
  compileFilters(
    allow.map((one) => FlowFilter.fromJSON(one)),
    deny.map((one) => FlowFilter.fromJSON(one)),
  );

describe('filters', () => {
  test.each(YES)('%j matches', (filter) => expect(passes([filter])(forwarded)).toBe(true));
  test.each(NO)('%j does not match', (filter) => expect(passes([filter])(forwarded)).toBe(false));

  test('fields are joined by and, filters by or, the deny list wins', () => {
    expect(passes([{ protocol: ['tcp'], verdict: ['DROPPED'] }])(forwarded)).toBe(false);
    expect(passes([{ verdict: ['DROPPED'] }, { protocol: ['tcp'] }])(forwarded)).toBe(true);
    expect(passes([], [{ protocol: ['tcp'] }])(forwarded)).toBe(false);
    expect(passes([])(forwarded)).toBe(true);
  });

  test('a drop has no known direction and counts as no reply', () => {
    expect(passes([{ reply: [false] }])(dropped)).toBe(true);
    expect(passes([{ drop_reason_desc: ['POLICY_DENIED'] }])(dropped)).toBe(true);
  });

  test.each<[Input, RegExp]>([
    [{ source_ip: ['10.0.0'] }, /bad IP address/],
    [{ source_ip: ['10.0.0.0/40'] }, /bad CIDR/],
    [{ source_pod: [''] }, /must not be empty/],
    [{ protocol: ['xyz'] }, /unknown protocol "xyz"; allowed/],
    [{ source_port: ['65536'] }, /bad port/],
    [{ source_label: ['a=(b'] }, /bad label selector/],
    [{ node_name: ['a/b/c'] }, /more than one slash/],
    [{ http_status_code: ['200'] }, /http_status_code needs L7/],
    [{ dns_query: ['x'] }, /dns_query needs L7/],
    [{ protocol: ['dns'] }, /needs L7/],
    [{ experimental: { cel_expression: ['true'] } }, /cel_expression is not supported/],
  ])('%j is refused', (filter, message) => expect(() => passes([filter])).toThrow(message));
});

test('selectors know labels with values that hold equals signs', () => {
  expect(labelSelector('any:a=b')(['k8s:a=b'])).toBe(true);
  expect(labelSelector('a')(['k8s:a=b=c'])).toBe(true);
  expect(labelSelector('reserved:world')(['reserved:world'])).toBe(true);
});

describe('field masks', () => {
  test('only the masked paths stay', () => {
    const flow = compileMask(['time', 'source.pod_name', 'l4.TCP', 'Summary'])(forwarded);
    expect(flow.source).toMatchObject({ podName: forwarded.source!.podName, namespace: '', labels: [] });
    expect(flow.l4).toEqual(forwarded.l4);
    expect(flow.IP).toBeUndefined();
    expect(flow.verdict).toBe(0);
    expect(compileMask(['source', 'source.identity'])(forwarded).source).toEqual(forwarded.source);
    expect(compileMask(['l4.UDP'])(forwarded).l4).toBeUndefined();
  });

  test.each(['nope', 'source.nope', 'source.identity.x', ''])('%j is refused', (path) =>
    expect(() => compileMask([path])).toThrow(/unknown path/),
  );
});
