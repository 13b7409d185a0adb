// SPDX-License-Identifier: Apache-2.0
// Tested: FlowFilters and field masks. How: one flow per kind of event, filters from literals.
import { EventType } from '@cilium-ts/abi';
import { DropReason, FlowFilter, IPVersion, Verdict, type Flow, type TCPFlags } from '@cilium-ts/proto';
import { describe, expect, test } from '@jest/globals';
import { compileFilter, compileFilters } from './filter.ts';
import { tcpFlags } from './layer4.ts';
import { compileMask } from './mask.ts';
import { tcpFlow } from './test-events.ts';

const TRACE = tcpFlow({ ifindex: 12 });
const DROP = tcpFlow({ type: EventType.EVENT_DROP, subtype: 133, ruleSet: 3 });

type Fields = Partial<FlowFilter>;

const filter = (fields: Fields): FlowFilter => FlowFilter.create(fields as object);
const matches = (fields: Fields, flow = TRACE): boolean => compileFilter(filter(fields))(flow);
const flags = (bits: number): TCPFlags => tcpFlags(bits);

describe('one field', () => {
  test.each<[string, Fields, boolean]>([
    ['exact address', { sourceIp: ['10.244.1.5'] }, true],
    ['another address', { sourceIp: ['10.244.1.6'] }, false],
    ['any of several values', { sourceIp: ['1.2.3.4', '10.244.0.0/16'] }, true],
    ['CIDR', { destinationIp: ['10.244.1.0/24'] }, false],
    ['pod prefix', { sourcePod: ['production/front'] }, true],
    ['pod without namespace is of default', { sourcePod: ['frontend'] }, false],
    ['all of a namespace', { destinationPod: ['production/'] }, true],
    ['any namespace', { destinationPod: ['/backend'] }, true],
    ['namespace is exact', { destinationPod: ['prod/'] }, false],
    ['no service never matches', { destinationService: ['/'] }, false],
    ['label', { sourceLabel: ['app=frontend'] }, true],
    ['label with source', { sourceLabel: ['k8s:app=frontend'] }, true],
    ['label in set', { destinationLabel: ['app in (frontend, api)'] }, false],
    ['identity', { destinationIdentity: [20_455] }, true],
    ['protocol in any case', { protocol: ['TCP'] }, true],
    ['another protocol', { protocol: ['udp', 'icmp'] }, false],
    ['port', { destinationPort: ['8080'] }, true],
    ['another port', { sourcePort: ['8080'] }, false],
    ['flags', { tcpFlags: [flags(0x02)] }, true],
    ['all flags must be set', { tcpFlags: [flags(0x12)] }, false],
    ['family', { ipVersion: [IPVersion.IPv6] }, false],
    ['reply', { reply: [false] }, true],
    ['node', { nodeName: ['node*'] }, true],
    ['cluster and node', { nodeName: ['default/node1'] }, true],
    ['another cluster', { nodeName: ['east/'] }, false],
    ['event type', { eventType: [{ type: 4, matchSubType: false, subType: 0 }] }, true],
    ['raw sub-type', { eventType: [{ type: 4, matchSubType: true, subType: 101 }] }, false],
    ['workload', { sourceWorkload: [{ kind: 'Deployment', name: '' }] }, true],
    ['interface', { interface: [{ index: 0, name: 'lxc12' }] }, true],
    ['drop reason of a forwarded flow', { dropReasonDesc: [DropReason.DROP_REASON_UNKNOWN] }, false],
    ['cluster', { sourceClusterName: ['default'] }, true],
    ['no constraint', {}, true],
  ])('%s', (_, fields, expected) => {
    expect(matches(fields)).toBe(expected);
  });

  test('a drop whose direction is unknown counts as no reply', () => {
    expect(DROP.isReply).toBeUndefined();
    expect(matches({ reply: [false] }, DROP)).toBe(true);
    expect(matches({ reply: [true] }, DROP)).toBe(false);
    expect(matches({ dropReasonDesc: [DropReason.POLICY_DENIED] }, DROP)).toBe(true);
  });
});

describe('combinations', () => {
  const dropped = filter({ verdict: [Verdict.DROPPED] });
  const tcp = filter({ protocol: ['tcp'] });
  const udp = filter({ protocol: ['udp'] });

  test('fields of one filter must all match', () => {
    expect(matches({ protocol: ['tcp'], verdict: [Verdict.DROPPED] })).toBe(false);
    expect(matches({ protocol: ['tcp'], verdict: [Verdict.DROPPED] }, DROP)).toBe(true);
  });

  test('one filter of the allow list is enough, one of the deny list is too much', () => {
    expect(compileFilters([], [])(TRACE)).toBe(true);
    expect(compileFilters([udp, tcp], [])(TRACE)).toBe(true);
    expect(compileFilters([udp], [])(TRACE)).toBe(false);
    expect(compileFilters([tcp], [dropped])(TRACE)).toBe(true);
    expect(compileFilters([tcp], [udp, dropped])(DROP)).toBe(false);
  });
});

describe('bad filters are refused by name', () => {
  test.each<[Fields, RegExp]>([
    [{ sourceIp: ['10.0.0'] }, /10\.0\.0/],
    [{ sourceIp: ['10.0.0.0/40'] }, /10\.0\.0\.0\/40/],
    [{ sourcePod: [''] }, /empty/],
    [{ protocol: ['tpc'] }, /tpc.*allowed: icmp/],
    [{ destinationPort: ['65536'] }, /65536.*allowed/],
    [{ destinationPort: ['http'] }, /http/],
    [{ nodeName: ['a/b/c'] }, /a\/b\/c/],
    [{ destinationClusterName: [''] }, /empty/],
    [{ sourceLabel: ['a in ('] }, /a in \(/],
    [{ protocol: ['http'] }, /http needs L7/],
    [{ httpStatusCode: ['200'] }, /http_status_code needs L7/],
    [{ dnsQuery: ['.*'] }, /dns_query needs L7/],
    [{ experimental: { celExpression: ['true'] } }, /cel_expression/],
  ])('%j', (fields, message) => {
    expect(() => compileFilter(filter(fields))).toThrow(message);
  });
});

describe('field masks', () => {
  const mask = (...paths: string[]): Flow => compileMask(paths)(TRACE);

  test('only the masked paths are kept', () => {
    const flow = mask('time', 'source.pod_name', 'verdict');
    expect(flow.time).toEqual(TRACE.time);
    expect(flow.verdict).toBe(Verdict.FORWARDED);
    expect(flow.source).toMatchObject({
      podName: TRACE.source!.podName,
      identity: 0,
      labels: [],
      namespace: '',
    });
    expect(flow.destination).toBeUndefined();
    expect(flow.nodeName).toBe('');
    expect(TRACE.source?.identity).not.toBe(0);
  });

  test('a whole message swallows its parts, in either order', () => {
    expect(mask('IP', 'IP.source').IP).toEqual(TRACE.IP);
    expect(mask('IP.source', 'IP').IP).toEqual(TRACE.IP);
  });

  test('a protocol inside l4', () => {
    expect(mask('l4.TCP').l4).toEqual(TRACE.l4);
    expect(mask('l4.UDP').l4).toBeUndefined();
  });

  test.each(['source.podName', 'nothing', 'source.pod_name.x', ''])('%j is refused', (path) => {
    expect(() => compileMask([path])).toThrow(/unknown path/);
  });
});
