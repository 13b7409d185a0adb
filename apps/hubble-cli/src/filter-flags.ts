// SPDX-License-Identifier: Apache-2.0
// From filter flags to FlowFilters. A flag for both directions gives two filters, one of which must match.
import {
  DropReason,
  dropReasonFromJSON,
  FlowFilter,
  IPVersion,
  TrafficDirection,
  Verdict,
  type EventTypeFilter,
  type TCPFlags,
  type Workload,
} from '@cilium-ts/proto';
import { EVENT, OBSERVATION_POINTS, reservedIdentityNumber } from '@cilium-ts/flow';
import { usage, type FlagUse } from './arguments.ts';
import { FILTER_FLAGS } from './flags.ts';

export interface FilterLists {
  readonly allow: readonly FlowFilter[];
  readonly deny: readonly FlowFilter[];
}

interface Half {
  readonly filter: FlowFilter;
  readonly sourceNamespaces: string[];
  readonly destinationNamespaces: string[];
}

/** The two filters of one list: source in the left, destination in the right, everything else in both. */
class Pair {
  readonly left = half();
  readonly right = half();
  readonly #used = new Set<string>();
  #namespaces: string[] = [];

  get isEmpty(): boolean {
    return this.#used.size === 0;
  }

  note(flag: string): void {
    for (const group of CONFLICTS) {
      const other = group.includes(flag)
        ? group.find((name) => name !== flag && this.#used.has(name))
        : undefined;
      if (other) throw usage(`filters --${other} and --${flag} cannot be combined`);
    }
    this.#used.add(flag);
  }

  add<V>(
    side: Side,
    pick: (filter: FlowFilter, end: 'source' | 'destination') => V[],
    values: readonly V[],
  ): void {
    if (side !== 'to-') pick(this.left.filter, 'source').push(...values);
    if (side !== 'from-') pick(this.right.filter, 'destination').push(...values);
    if (side === 'from-') pick(this.right.filter, 'source').push(...values);
    if (side === 'to-') pick(this.left.filter, 'destination').push(...values);
  }

  addNamespaces(side: Side, names: readonly string[]): void {
    if (side === '') this.#namespaces.push(...names);
    if (side !== 'to-') this.left.sourceNamespaces.push(...names);
    if (side !== 'from-') this.right.destinationNamespaces.push(...names);
    if (side === 'from-') this.right.sourceNamespaces.push(...names);
    if (side === 'to-') this.left.destinationNamespaces.push(...names);
  }

  both(change: (filter: FlowFilter) => void): void {
    change(this.left.filter);
    change(this.right.filter);
  }

  finish(): FlowFilter[] {
    if (this.isEmpty) return [];
    const filters = [this.left, this.right].map((one) => merged(one, this.#namespaces));
    const texts = filters.map((filter) => JSON.stringify(FlowFilter.toJSON(filter)));
    return texts[0] === texts[1] ? [filters[0]!] : filters;
  }
}

type Side = '' | 'from-' | 'to-';

function half(): Half {
  return { filter: FlowFilter.create({}), sourceNamespaces: [], destinationNamespaces: [] };
}

/** Namespaces complete names without one; alone they mean all pods of theirs. */
function merged(
  { filter, sourceNamespaces, destinationNamespaces }: Half,
  anywhere: readonly string[],
): FlowFilter {
  for (const end of ['source', 'destination'] as const) {
    const namespaces = end === 'source' ? sourceNamespaces : destinationNamespaces;
    const scope = namespaces.length > 0 ? namespaces : anywhere;
    const full = (names: readonly string[]): string[] =>
      names.flatMap((name) =>
        name.includes('/') || scope.length === 0 ? [name] : scope.map((ns) => `${ns}/${name}`),
      );
    const isAlone = filter[`${end}Pod`].length === 0 && filter[`${end}Service`].length === 0;
    if (isAlone && namespaces.length > 0) filter[`${end}Pod`] = namespaces.map((ns) => `${ns}/`);
    else {
      filter[`${end}Pod`] = full(filter[`${end}Pod`]);
      filter[`${end}Service`] = full(filter[`${end}Service`]);
    }
  }
  return filter;
}

const sided = (what: string, side: 'from' | 'to'): string[] => [what, `${side}-${what}`];

const CONFLICTS: readonly (readonly string[])[] = [
  ...(['from', 'to'] as const).flatMap((side) => [
    [...sided('ip', side), ...sided('fqdn', side), ...sided('pod', side)],
    [
      ...sided('ip', side),
      ...sided('fqdn', side),
      ...sided('namespace', side),
      ...sided('all-namespaces', side),
    ],
    ...['label', 'service', 'workload', 'port', 'identity', 'cluster'].map((what) => sided(what, side)),
  ]),
  ['encrypted', 'unencrypted'],
  ['ipv4', 'ipv6', 'ip-version'],
];

const BY_NAME = new Map(FILTER_FLAGS.map((spec) => [spec.name, spec]));

export const isFilterFlag = (name: string): boolean => BY_NAME.has(name);

/** @throws AppError `usage` */
export function filterLists(uses: readonly FlagUse[]): FilterLists {
  const allow = new Pair();
  const deny = new Pair();
  let negated = false;
  for (const { name, value } of uses) {
    const spec = BY_NAME.get(name);
    if (!spec) continue;
    if (name === 'not') {
      if (negated) throw usage('--not --not: one of them is enough, or none');
      negated = true;
      continue;
    }
    const values =
      value === undefined ? [] : spec.whole ? [value] : value.split(',').map((part) => part.trim());
    const pair = negated ? deny : allow;
    pair.note(name);
    apply(pair, name, values);
    negated = false;
  }
  if (negated) throw usage('--not at the end: it concerns the filter behind it');
  return { allow: allow.finish(), deny: deny.finish() };
}

function apply(pair: Pair, name: string, values: readonly string[]): void {
  const [, side = '', what = name] = /^(from-|to-)?(.*)$/.exec(name) ?? [];
  if (applySided(pair, side as Side, what, values)) return;
  pair.both((filter) => applyPlain(filter, name, values));
}

const SIDED = {
  pod: 'Pod',
  service: 'Service',
  label: 'Label',
  ip: 'Ip',
  fqdn: 'Fqdn',
  port: 'Port',
  cluster: 'ClusterName',
} as const;

function applySided(pair: Pair, side: Side, what: string, values: readonly string[]): boolean {
  const field = SIDED[what as keyof typeof SIDED] as (typeof SIDED)[keyof typeof SIDED] | undefined;
  if (field) pair.add(side, (filter, end) => filter[`${end}${field}`], values);
  else if (what === 'namespace') pair.addNamespaces(side, values);
  else if (what === 'all-namespaces') pair.addNamespaces(side, ['']);
  else if (what === 'identity')
    pair.add(side, (filter, end) => filter[`${end}Identity`], values.map(identityNumber));
  else if (what === 'workload')
    pair.add(side, (filter, end) => filter[`${end}Workload`], values.map(workload));
  else return false;
  return true;
}

function applyPlain(filter: FlowFilter, name: string, values: readonly string[]): void {
  const texts: Readonly<Record<string, keyof FlowFilter>> = {
    'snat-ip': 'sourceIpXlated',
    'node-name': 'nodeName',
    'node-label': 'nodeLabels',
    protocol: 'protocol',
    'http-method': 'httpMethod',
    'http-path': 'httpPath',
    'http-url': 'httpUrl',
    'trace-id': 'traceId',
    uuid: 'uuid',
  };
  const field = texts[name];
  if (field) (filter[field] as string[]).push(...values);
  else applyTyped(filter, name, values);
}

function applyTyped(filter: FlowFilter, name: string, values: readonly string[]): void {
  switch (name) {
    case 'verdict':
      return void filter.verdict.push(...values.map((text) => oneOf(text, Verdict, name)));
    case 'drop-reason-desc':
      return void filter.dropReasonDesc.push(...values.map(dropReason));
    case 'traffic-direction':
      return void filter.trafficDirection.push(...values.map((text) => oneOf(text, TrafficDirection, name)));
    case 'type':
      return void filter.eventType.push(...values.map(eventType));
    case 'ipv4':
      return void filter.ipVersion.push(IPVersion.IPv4);
    case 'ipv6':
      return void filter.ipVersion.push(IPVersion.IPv6);
    case 'ip-version':
      return void filter.ipVersion.push(...values.map(ipVersion));
    case 'tcp-flags':
      return void filter.tcpFlags.push(...values.map(tcpFlags));
    case 'interface':
      return void filter.interface.push(...values.map((text) => ({ index: 0, name: text })));
    case 'encrypted':
    case 'unencrypted':
      return void filter.encrypted.push(name === 'encrypted');
    default:
      return applyL7(filter, name, values);
  }
}

function applyL7(filter: FlowFilter, name: string, values: readonly string[]): void {
  if (name === 'http-status') {
    filter.httpStatusCode.push(...values);
    // Without a value: any HTTP flow.
    if (values.length === 0) filter.eventType.push({ type: EVENT.L7, matchSubType: false, subType: 0 });
  } else if (name === 'http-header') {
    for (const text of values) {
      const colon = text.indexOf(':');
      if (colon < 1) throw usage(`invalid value ${JSON.stringify(text)} for --http-header: use name:value`);
      filter.httpHeader.push({ key: text.slice(0, colon), value: text.slice(colon + 1) });
    }
  } else if (name === 'ip-trace-id')
    filter.ipTraceId.push(...values.map((text) => BigInt(digits(text, name))));
  else if (name === 'cel-expression') {
    filter.experimental = { celExpression: [...(filter.experimental?.celExpression ?? []), ...values] };
  }
}

function digits(text: string, flag: string): string {
  if (!/^\d{1,19}$/.test(text))
    throw usage(`invalid value ${JSON.stringify(text)} for --${flag}: a number is needed`);
  return text;
}

function oneOf<T extends number>(text: string, values: Readonly<Record<string, T>>, flag: string): T {
  const found = values[text.toUpperCase()];
  if (found === undefined || found < 0) {
    const allowed = Object.keys(values).filter((name) => values[name]! > 0);
    throw usage(`invalid value ${JSON.stringify(text)} for --${flag}; allowed: ${allowed.join(', ')}`);
  }
  return found;
}

function dropReason(text: string): DropReason {
  const reason = dropReasonFromJSON(text.toUpperCase());
  if (reason === DropReason.UNRECOGNIZED)
    throw usage(
      `invalid value ${JSON.stringify(text)} for --drop-reason-desc: use a name such as POLICY_DENIED`,
    );
  return reason;
}

function identityNumber(text: string): number {
  const number = /^\d{1,10}$/.test(text)
    ? Number(text)
    : reservedIdentityNumber(text.replace(/^reserved:/, ''));
  if (number === undefined)
    throw usage(`invalid identity ${JSON.stringify(text)}: a number or a reserved name such as world`);
  return number;
}

/** `name`, `Kind/name`, `Kind/`. */
function workload(text: string): Workload {
  const slash = text.indexOf('/');
  return slash < 0 ? { kind: '', name: text } : { kind: text.slice(0, slash), name: text.slice(slash + 1) };
}

function ipVersion(text: string): IPVersion {
  const known: Readonly<Record<string, IPVersion>> = {
    none: IPVersion.IP_NOT_USED,
    v4: IPVersion.IPv4,
    ipv4: IPVersion.IPv4,
    '4': IPVersion.IPv4,
    v6: IPVersion.IPv6,
    ipv6: IPVersion.IPv6,
    '6': IPVersion.IPv6,
  };
  const found = known[text.toLowerCase()];
  if (found === undefined)
    throw usage(`invalid value ${JSON.stringify(text)} for --ip-version; allowed: none, v4, v6`);
  return found;
}

function tcpFlags(text: string): TCPFlags {
  const flags: TCPFlags = {
    FIN: false,
    SYN: false,
    RST: false,
    PSH: false,
    ACK: false,
    URG: false,
    ECE: false,
    CWR: false,
    NS: false,
  };
  for (const name of text.toUpperCase().split(',')) {
    if (!(name in flags))
      throw usage(`invalid TCP flag ${JSON.stringify(name)}; allowed: ${Object.keys(flags).join(', ')}`);
    flags[name as keyof TCPFlags] = true;
  }
  return flags;
}

const TYPES: Readonly<Record<string, number>> = {
  drop: EVENT.DROP,
  debug: EVENT.DEBUG,
  capture: EVENT.CAPTURE,
  trace: EVENT.TRACE,
  'policy-verdict': EVENT.POLICY_VERDICT,
  'trace-sock': EVENT.SOCK,
  l7: EVENT.L7,
  agent: EVENT.AGENT,
};

const points = new Map(Object.entries(OBSERVATION_POINTS).map(([number, name]) => [name, Number(number)]));

function eventType(text: string): EventTypeFilter {
  const [name = '', sub] = text.toLowerCase().split(':');
  const type = /^\d{1,3}$/.test(name) ? Number(name) : TYPES[name];
  if (type === undefined) {
    throw usage(
      `invalid value ${JSON.stringify(text)} for --type; allowed: ${Object.keys(TYPES).join(', ')}`,
    );
  }
  if (sub === undefined) return { type, matchSubType: false, subType: 0 };
  return { type, matchSubType: true, subType: subType(type, sub, text) };
}

function subType(type: number, sub: string, text: string): number {
  if (/^\d{1,3}$/.test(sub)) return Number(sub);
  if (type === EVENT.TRACE && points.has(sub)) return points.get(sub)!;
  if (type === EVENT.DROP) return dropReason(sub.replaceAll('-', '_'));
  throw usage(`unknown sub-type in ${JSON.stringify(text)}; trace has ${[...points.keys()].join(', ')}`);
}
