// SPDX-License-Identifier: Apache-2.0
import type { FlagSpec } from './arguments.ts';

export const SERVER_FLAGS: readonly FlagSpec[] = [
  {
    name: 'server',
    kind: 'value',
    value: 'address',
    help: 'agent or relay: HOST:PORT or unix:///PATH (environment HUBBLE_SERVER)',
  },
  { name: 'timeout', kind: 'value', value: 'duration', help: 'how long to try to connect (5s)' },
  {
    name: 'request-timeout',
    kind: 'value',
    value: 'duration',
    help: 'how long a single answer may take (12s)',
  },
  { name: 'debug', short: 'D', kind: 'flag', help: 'more messages on standard error' },
  { name: 'help', short: 'h', kind: 'flag', help: 'this text' },
];

const both = (what: string, short?: string): FlagSpec[] =>
  (['', 'from-', 'to-'] as const).map((side) => ({
    name: `${side}${what}`,
    kind: 'list' as const,
    help: `flows ${side === '' ? 'from or to' : side === 'from-' ? 'from' : 'to'} this ${what}`,
    ...(short !== undefined && side === '' ? { short } : {}),
    ...(what === 'label' ? { whole: true } : {}),
  }));

const list = (name: string, help: string, value = 'value', short?: string): FlagSpec => ({
  name,
  kind: 'list',
  help,
  value,
  ...(short === undefined ? {} : { short }),
});

export const FILTER_FLAGS: readonly FlagSpec[] = [
  { name: 'not', kind: 'flag', help: 'reverses the next filter' },
  ...both('pod'),
  ...both('namespace', 'n'),
  { name: 'all-namespaces', short: 'A', kind: 'flag', help: 'flows of any namespace' },
  { name: 'from-all-namespaces', kind: 'flag', help: 'flows from any namespace' },
  { name: 'to-all-namespaces', kind: 'flag', help: 'flows to any namespace' },
  ...both('service'),
  ...both('workload'),
  ...both('label', 'l'),
  ...both('ip'),
  ...both('fqdn'),
  ...both('port'),
  ...both('identity'),
  ...both('cluster'),
  list('snat-ip', 'translated source address'),
  list('node-name', 'node, or cluster/node; * stands for anything'),
  { ...list('node-label', 'label selector of the node'), whole: true },
  list('ip-version', 'none, v4 or v6'),
  { name: 'ipv4', short: '4', kind: 'flag', help: 'only IPv4' },
  { name: 'ipv6', short: '6', kind: 'flag', help: 'only IPv6' },
  list('protocol', 'tcp, udp, icmp, icmpv4, icmpv6, sctp, vrrp, igmp'),
  { ...list('tcp-flags', 'flags that are all set, as SYN,ACK'), whole: true },
  list('verdict', 'FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED, TRANSLATED'),
  list('drop-reason-desc', 'such as POLICY_DENIED'),
  list('type', 'event type, TYPE[:SUBTYPE]: drop, trace[:to-endpoint], policy-verdict, l7', 'type', 't'),
  list('traffic-direction', 'ingress or egress'),
  list('interface', 'network interface'),
  { name: 'http-status', kind: 'optional', help: 'HTTP status; without value: any HTTP flow' },
  list('http-method', 'HTTP method'),
  list('http-path', 'regular expression of the path'),
  list('http-url', 'regular expression of the URL'),
  { ...list('http-header', 'HTTP header as name:value'), whole: true },
  list('trace-id', 'trace id of an HTTP flow'),
  list('ip-trace-id', 'trace id in the IP options'),
  list('uuid', 'one flow'),
  { name: 'encrypted', kind: 'flag', help: 'only encrypted flows' },
  { name: 'unencrypted', kind: 'flag', help: 'only flows that are not encrypted' },
  { ...list('cel-expression', 'CEL expression'), whole: true },
];

export const OBSERVE_FLAGS: readonly FlagSpec[] = [
  { name: 'last', kind: 'value', value: 'N', help: 'the newest N flows (20)' },
  { name: 'first', kind: 'value', value: 'N', help: 'the oldest N flows' },
  { name: 'all', kind: 'flag', help: 'all flows that are kept' },
  { name: 'follow', short: 'f', kind: 'flag', help: 'go on with new flows' },
  { name: 'since', kind: 'value', value: 'time', help: 'flows since a time: 5m, 2026-03-04, RFC 3339' },
  { name: 'until', kind: 'value', value: 'time', help: 'flows up to a time' },
  {
    name: 'output',
    short: 'o',
    kind: 'value',
    value: 'format',
    help: 'compact (default), dict, json, jsonpb, table',
  },
  { name: 'print-node-name', kind: 'flag', help: 'with the node that saw the flow' },
  { name: 'print-policy-names', kind: 'flag', help: 'also names the policies that allowed' },
  {
    name: 'time-format',
    kind: 'value',
    value: 'format',
    help: 'StampMilli (default), RFC3339, RFC3339Milli, ...',
  },
  { name: 'color', kind: 'value', value: 'when', help: 'auto (default), always, never' },
  { name: 'ip-translation', kind: 'flag', help: 'names instead of addresses (on; =false for addresses)' },
  { name: 'numeric', kind: 'flag', help: 'addresses instead of names' },
  { name: 'silent-errors', short: 's', kind: 'flag', help: 'no messages about nodes' },
  { name: 'field-mask', kind: 'list', help: 'fields of the flow to ask for (json only)' },
  { name: 'use-default-field-masks', kind: 'flag', help: 'accepted; this client asks for all it prints' },
  {
    name: 'input-file',
    kind: 'value',
    value: 'file',
    help: 'JSON lines instead of a server; - is standard input',
  },
  { name: 'allowlist', kind: 'list', whole: true, value: 'JSON', help: 'a FlowFilter of flows to show' },
  { name: 'denylist', kind: 'list', whole: true, value: 'JSON', help: 'a FlowFilter of flows to hide' },
  { name: 'print-raw-filters', kind: 'flag', help: 'print the filters and exit' },
];
