// SPDX-License-Identifier: Apache-2.0
// FlowFilters, compiled once into one function. OR inside a field, AND between fields, OR between filters.
import { AppError } from '@cilium-ts/base';
import { isAddress, parsePrefix, prefixContainsAddress } from '@cilium-ts/net';
import {
  Verdict,
  type Endpoint,
  type EventTypeFilter,
  type Flow,
  type FlowFilter,
  type Service,
  type TCPFlags,
  type Workload,
} from '@cilium-ts/proto';
import { labelSelector } from './label-selector.ts';
import { portsOf, TCP_FLAG_NAMES } from './layer4.ts';

export type FlowPredicate = (flow: Flow) => boolean;

/** Fields that need L7 records or an expression engine, which this version does not have: refused, never ignored. */
const UNSUPPORTED = [
  'httpStatusCode',
  'httpMethod',
  'httpPath',
  'httpUrl',
  'httpHeader',
  'dnsQuery',
  'traceId',
] as const satisfies readonly (keyof FlowFilter)[];

const EVERYTHING: FlowPredicate = () => true;

/** What passes: any filter of the allow list (all, if empty) and none of the deny list. @throws AppError `bad-filter`, `unsupported-filter` */
export function compileFilters(allow: readonly FlowFilter[], deny: readonly FlowFilter[]): FlowPredicate {
  const allowed = allow.map(compileFilter);
  const denied = deny.map(compileFilter);
  if (allowed.length === 0 && denied.length === 0) return EVERYTHING;
  return (flow) => {
    if (allowed.length > 0 && !allowed.some((matches) => matches(flow))) return false;
    return !denied.some((matches) => matches(flow));
  };
}

export function compileFilter(filter: FlowFilter): FlowPredicate {
  refuseUnsupported(filter);
  const tests = [...endpointTests(filter), ...packetTests(filter), ...metaTests(filter)];
  return (flow) => tests.every((matches) => matches(flow));
}

function refuseUnsupported(filter: FlowFilter): void {
  for (const field of UNSUPPORTED) {
    if (filter[field].length > 0) {
      const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      throw new AppError(
        'unsupported-filter',
        `filter ${name} needs L7 flows, which this version does not produce`,
      );
    }
  }
  if ((filter.experimental?.celExpression.length ?? 0) > 0) {
    throw new AppError('unsupported-filter', 'filter cel_expression is not supported by this version');
  }
}

/** One test per field that is set: any value may match. */
function anyOf<V, W>(
  values: readonly V[],
  make: (value: V) => W,
  matches: (flow: Flow, wanted: W) => boolean,
): FlowPredicate[] {
  if (values.length === 0) return [];
  const wanted = values.map(make);
  return [(flow) => wanted.some((one) => matches(flow, one))];
}

const same = <V>(value: V): V => value;

function endpointTests(filter: FlowFilter): FlowPredicate[] {
  return [
    ...anyOf(filter.sourceIp, addressTest, (flow, test) => test(flow.IP?.source ?? '')),
    ...anyOf(filter.destinationIp, addressTest, (flow, test) => test(flow.IP?.destination ?? '')),
    ...anyOf(filter.sourceIpXlated, addressTest, (flow, test) => test(flow.IP?.sourceXlated ?? '')),
    ...anyOf(filter.sourcePod, nameTest, (flow, test) => test(podName(flow.source))),
    ...anyOf(filter.destinationPod, nameTest, (flow, test) => test(podName(flow.destination))),
    ...anyOf(filter.sourceService, nameTest, (flow, test) => test(flow.sourceService)),
    ...anyOf(filter.destinationService, nameTest, (flow, test) => test(flow.destinationService)),
    ...anyOf(filter.sourceFqdn, globTest, (flow, test) => flow.sourceNames.some(test)),
    ...anyOf(filter.destinationFqdn, globTest, (flow, test) => flow.destinationNames.some(test)),
    ...anyOf(filter.sourceLabel, labelSelector, (flow, test) => test(flow.source?.labels ?? [])),
    ...anyOf(filter.destinationLabel, labelSelector, (flow, test) => test(flow.destination?.labels ?? [])),
    ...anyOf(filter.sourceIdentity, same, (flow, wanted) => flow.source?.identity === wanted),
    ...anyOf(filter.destinationIdentity, same, (flow, wanted) => flow.destination?.identity === wanted),
    ...anyOf(filter.sourceWorkload, workloadTest, (flow, test) => test(flow.source)),
    ...anyOf(filter.destinationWorkload, workloadTest, (flow, test) => test(flow.destination)),
    ...anyOf(filter.sourceClusterName, nonEmpty, (flow, wanted) => flow.source?.clusterName === wanted),
    ...anyOf(
      filter.destinationClusterName,
      nonEmpty,
      (flow, wanted) => flow.destination?.clusterName === wanted,
    ),
  ];
}

function packetTests(filter: FlowFilter): FlowPredicate[] {
  return [
    ...anyOf(filter.protocol, protocolTest, (flow, test) => test(flow.l4?.protocol?.$case)),
    ...anyOf(
      filter.sourcePort,
      portNumber,
      (flow, wanted) => hasPorts(flow) && portsOf(flow.l4).source === wanted,
    ),
    ...anyOf(
      filter.destinationPort,
      portNumber,
      (flow, wanted) => hasPorts(flow) && portsOf(flow.l4).destination === wanted,
    ),
    ...anyOf(filter.tcpFlags, same, hasFlags),
    ...anyOf(filter.ipVersion, same, (flow, wanted) => (flow.IP?.ipVersion ?? 0) === wanted),
    ...anyOf(filter.encrypted, same, (flow, wanted) => (flow.IP?.encrypted ?? false) === wanted),
    ...anyOf(filter.ipTraceId, same, (flow, wanted) => flow.ipTraceId?.traceId === wanted),
  ];
}

function metaTests(filter: FlowFilter): FlowPredicate[] {
  return [
    ...anyOf(filter.verdict, same, (flow, wanted) => flow.verdict === wanted),
    ...anyOf(filter.eventType, same, isEventType),
    ...anyOf(filter.reply, same, (flow, wanted) => replyOf(flow) === wanted),
    ...anyOf(filter.trafficDirection, same, (flow, wanted) => flow.trafficDirection === wanted),
    ...anyOf(
      filter.dropReasonDesc,
      same,
      (flow, wanted) => flow.verdict === Verdict.DROPPED && flow.dropReasonDesc === wanted,
    ),
    ...anyOf(filter.nodeName, nodeTest, (flow, test) => test(flow.nodeName)),
    ...anyOf(filter.nodeLabels, labelSelector, (flow, test) => test(flow.nodeLabels)),
    ...anyOf(filter.uuid, same, (flow, wanted) => flow.uuid === wanted),
    ...anyOf(filter.interface, same, (flow, wanted) => {
      const found = flow.interface;
      if (!found) return false;
      return (
        (wanted.index === 0 || wanted.index === found.index) &&
        (wanted.name === '' || wanted.name === found.name)
      );
    }),
  ];
}

function replyOf(flow: Flow): boolean | undefined {
  if (flow.isReply !== undefined) return flow.isReply;
  return flow.verdict === Verdict.DROPPED ? false : undefined;
}

function isEventType(flow: Flow, wanted: EventTypeFilter): boolean {
  const found = flow.eventType;
  if (!found || (wanted.type !== 0 && wanted.type !== found.type)) return false;
  return !wanted.matchSubType || wanted.subType === found.subType;
}

function hasPorts(flow: Flow): boolean {
  const protocol = flow.l4?.protocol?.$case;
  return protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP';
}

function hasFlags(flow: Flow, wanted: TCPFlags): boolean {
  const protocol = flow.l4?.protocol;
  if (protocol?.$case !== 'TCP') return false;
  const { flags } = protocol.value;
  return TCP_FLAG_NAMES.every((name) => !wanted[name] || flags?.[name] === true);
}

function addressTest(text: string): (address: string) => boolean {
  if (text.includes('/')) {
    const prefix = parsePrefix(text);
    if (!prefix) throw new AppError('bad-filter', `bad CIDR ${JSON.stringify(text)}`);
    return (address) => address !== '' && prefixContainsAddress(prefix, address);
  }
  if (!isAddress(text)) throw new AppError('bad-filter', `bad IP address ${JSON.stringify(text)}`);
  return (address) => address === text;
}

type Named = { readonly namespace: string; readonly name: string };

const podName = (endpoint: Endpoint | undefined): Named | undefined =>
  endpoint && { namespace: endpoint.namespace, name: endpoint.podName };

/** `ns/prefix`, `ns/` (all of a namespace), `/prefix` (any namespace), `prefix` (namespace default). */
function nameTest(text: string): (found: Named | Service | undefined) => boolean {
  if (text === '') throw new AppError('bad-filter', 'a pod or service name must not be empty');
  const slash = text.indexOf('/');
  const namespace = slash < 0 ? 'default' : text.slice(0, slash);
  const prefix = slash < 0 ? text : text.slice(slash + 1);
  return (found) => {
    if (!found || (found.namespace === '' && found.name === '')) return false;
    return (namespace === '' || found.namespace === namespace) && found.name.startsWith(prefix);
  };
}

function workloadTest(wanted: Workload): (endpoint: Endpoint | undefined) => boolean {
  return (endpoint) =>
    (endpoint?.workloads ?? []).some(
      ({ kind, name }) =>
        (wanted.kind === '' || kind === wanted.kind) && (wanted.name === '' || name === wanted.name),
    );
}

function nonEmpty(text: string): string {
  if (text === '') throw new AppError('bad-filter', 'a cluster name must not be empty');
  return text;
}

const PROTOCOLS: Readonly<Record<string, readonly string[]>> = {
  icmp: ['ICMPv4', 'ICMPv6'],
  icmpv4: ['ICMPv4'],
  icmpv6: ['ICMPv6'],
  tcp: ['TCP'],
  udp: ['UDP'],
  sctp: ['SCTP'],
  vrrp: ['VRRP'],
  igmp: ['IGMP'],
};

function protocolTest(text: string): (protocol: string | undefined) => boolean {
  const name = text.toLowerCase();
  const known = PROTOCOLS[name];
  if (known) return (protocol) => protocol !== undefined && known.includes(protocol);
  if (name === 'dns' || name === 'http' || name === 'kafka') {
    throw new AppError(
      'unsupported-filter',
      `protocol ${name} needs L7 flows, which this version does not produce`,
    );
  }
  const allowed = Object.keys(PROTOCOLS).join(', ');
  throw new AppError('bad-filter', `unknown protocol ${JSON.stringify(text)}; allowed: ${allowed}`);
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) {
    throw new AppError('bad-filter', `bad port ${JSON.stringify(text)}; allowed: 0 to 65535`);
  }
  return port;
}

/** `*` stands for a run of the characters that names are made of. */
function glob(text: string): RegExp {
  const escaped = text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '[-.0-9a-z]*');
  return new RegExp(`^${escaped}$`);
}

function globTest(text: string): (name: string) => boolean {
  const pattern = glob(text.trim().toLowerCase().replace(/\.$/, ''));
  return (name) => pattern.test(name);
}

/** `cluster/node` with globs on either side; a missing part is any. */
function nodeTest(text: string): (name: string) => boolean {
  const parts = text.split('/');
  if (parts.length > 2)
    throw new AppError('bad-filter', `bad node name ${JSON.stringify(text)}: more than one slash`);
  const any = /^/;
  const part = (value: string): RegExp => (value === '' ? any : glob(value));
  const cluster = parts.length === 2 ? part(parts[0]!) : any;
  const node = part(parts[parts.length - 1]!);
  return (name) => {
    const slash = name.indexOf('/');
    return cluster.test(slash < 0 ? 'default' : name.slice(0, slash)) && node.test(name.slice(slash + 1));
  };
}
