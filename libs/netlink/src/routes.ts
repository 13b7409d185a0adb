// SPDX-License-Identifier: Apache-2.0
import { addressToBytes, bytesToAddress } from '@cilium-ts/net';
import { AF_UNSPEC, familyOf, networkPrefix, type LinkRef, type Request } from './request.ts';
import { Attributes, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Writer } from './wire.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_TABLE = 15;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;

export const TABLE_MAIN = 254;
export const TABLE_LOCAL = 255;

export type RouteType = 'unicast' | 'local' | 'blackhole' | 'unreachable' | 'prohibit';
const ROUTE_TYPES: Record<RouteType, number> = {
  unicast: 1,
  local: 2,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
};
export type RouteScope = 'universe' | 'link' | 'host';
const SCOPES: Record<RouteScope, number> = { universe: 0, link: 253, host: 254 };

export interface RouteOptions {
  /** `10.0.0.0/24`, `fd00::/64`, an address, `default` (IPv4) or `::/0`. */
  readonly destination: string;
  readonly link?: LinkRef;
  readonly gateway?: string;
  /** The gateway is reachable on the link though no route says so. */
  readonly onLink?: boolean;
  /** Default: link where there is a link and no gateway, host for local routes, else universe. */
  readonly scope?: RouteScope;
  readonly table?: number;
  /** Preferred source address. */
  readonly source?: string;
  readonly type?: RouteType;
  readonly metric?: number;
  readonly mtu?: number;
  /** Default 3 (boot) */
  readonly protocol?: number;
}

export interface Route {
  /** With length; `0.0.0.0/0` and `::/0` for the defaults. */
  readonly destination: string;
  readonly family: 4 | 6;
  readonly link: number | undefined;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
  readonly table: number;
  readonly scope: number;
  /** RTN_*: 1 unicast, 2 local, 3 broadcast, 5 multicast, 6 blackhole, 7 unreachable. */
  readonly type: number;
  readonly protocol: number;
  readonly metric: number | undefined;
}

function defaultScope(options: RouteOptions): RouteScope {
  if (options.type === 'local') return 'host';
  return options.link !== undefined && options.gateway === undefined ? 'link' : 'universe';
}

function routeBody(options: RouteOptions, resolve: (link: LinkRef) => number): Uint8Array {
  const { bytes, bits } = networkPrefix(
    options.destination === 'default' ? '0.0.0.0/0' : options.destination,
  );
  const table = options.table ?? (options.type === 'local' ? TABLE_LOCAL : TABLE_MAIN);
  const writer = new Writer();
  // IPv6 knows no scopes.
  const scope = bytes.length === 16 ? 0 : SCOPES[options.scope ?? defaultScope(options)];
  writer
    .u8(familyOf(bytes))
    .u8(bits)
    .u8(0)
    .u8(0)
    .u8(table < 256 ? table : 0);
  writer
    .u8(options.protocol ?? 3)
    .u8(scope)
    .u8(ROUTE_TYPES[options.type ?? 'unicast']);
  writer.u32(options.onLink ? RTNH_F_ONLINK : 0);
  writer.attributeU32(RTA_TABLE, table);
  if (bits > 0) writer.attribute(RTA_DST, bytes);
  if (options.gateway !== undefined) writer.attribute(RTA_GATEWAY, addressToBytes(options.gateway));
  if (options.link !== undefined) writer.attributeU32(RTA_OIF, resolve(options.link));
  if (options.source !== undefined) writer.attribute(RTA_PREFSRC, addressToBytes(options.source));
  if (options.metric !== undefined) writer.attributeU32(RTA_PRIORITY, options.metric);
  const { mtu } = options;
  if (mtu !== undefined) writer.nested(RTA_METRICS, (metrics) => metrics.attributeU32(RTAX_MTU, mtu));
  return writer.bytes();
}

function routeText(options: RouteOptions): string {
  const via = options.gateway === undefined ? '' : ` via ${options.gateway}`;
  return `${options.destination}${via}${options.link === undefined ? '' : ` dev ${options.link}`}`;
}

/** Fails with EEXIST where the route is there. */
export function addRoute(options: RouteOptions): Request {
  return {
    what: `add route ${routeText(options)}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    accept: [],
    body: (resolve) => routeBody(options, resolve),
  };
}

export function replaceRoute(options: RouteOptions): Request {
  return {
    what: `replace route ${routeText(options)}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    accept: [],
    body: (resolve) => routeBody(options, resolve),
  };
}

/** Fails with ESRCH where there is no such route. */
export function deleteRoute(options: RouteOptions): Request {
  return {
    what: `delete route ${routeText(options)}`,
    type: RTM_DELROUTE,
    flags: 0,
    accept: [],
    body: (resolve) => routeBody(options, resolve),
  };
}

export function routeQuery(): Uint8Array {
  return new Writer().u8(AF_UNSPEC).u8(0).u16(0).u32(0).u32(0).bytes();
}

export function decodeRoute(body: Uint8Array): Route {
  const list = new Attributes(body.subarray(12));
  const family = body[0] === 10 ? 6 : 4;
  const text = (bytes: Uint8Array | undefined): string | undefined => bytes && bytesToAddress(bytes);
  const destination = text(list.bytes(RTA_DST)) ?? (family === 6 ? '::' : '0.0.0.0');
  return {
    destination: `${destination}/${body[1]}`,
    family,
    link: list.u32(RTA_OIF),
    gateway: text(list.bytes(RTA_GATEWAY)),
    source: text(list.bytes(RTA_PREFSRC)),
    table: list.u32(RTA_TABLE) ?? body[4]!,
    protocol: body[5]!,
    scope: body[6]!,
    type: body[7]!,
    metric: list.u32(RTA_PRIORITY),
  };
}

export interface RuleOptions {
  readonly family: 4 | 6;
  readonly table: number;
  readonly priority?: number;
  readonly mark?: number;
  readonly mask?: number;
  readonly from?: string;
}

function ruleRequest(options: RuleOptions, verb: string, type: number, flags: number): Request {
  return {
    what: `${verb} rule priority ${options.priority ?? '-'} table ${options.table}`,
    type,
    flags,
    accept: [],
    body: () => {
      const source = options.from === undefined ? undefined : networkPrefix(options.from);
      const writer = new Writer();
      writer
        .u8(options.family === 4 ? 2 : 10)
        .u8(0)
        .u8(source?.bits ?? 0)
        .u8(0);
      writer
        .u8(options.table < 256 ? options.table : 0)
        .u8(0)
        .u8(0)
        .u8(1)
        .u32(0);
      writer.attributeU32(FRA_TABLE, options.table);
      if (options.priority !== undefined) writer.attributeU32(FRA_PRIORITY, options.priority);
      if (options.mark !== undefined) writer.attributeU32(FRA_FWMARK, options.mark);
      if (options.mask !== undefined) writer.attributeU32(FRA_FWMASK, options.mask);
      if (source) writer.attribute(FRA_SRC, source.bytes);
      return writer.bytes();
    },
  };
}

export function addRule(options: RuleOptions): Request {
  return ruleRequest(options, 'add', RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

export function deleteRule(options: RuleOptions): Request {
  return ruleRequest(options, 'delete', RTM_DELRULE, 0);
}

export interface Rule {
  readonly family: 4 | 6;
  readonly table: number;
  readonly priority: number;
  readonly mark: number | undefined;
}

export function decodeRule(body: Uint8Array): Rule {
  const list = new Attributes(body.subarray(12));
  return {
    family: body[0] === 10 ? 6 : 4,
    table: list.u32(FRA_TABLE) ?? body[4]!,
    priority: list.u32(FRA_PRIORITY) ?? 0,
    mark: list.u32(FRA_FWMARK),
  };
}
