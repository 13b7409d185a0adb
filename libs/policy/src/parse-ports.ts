// SPDX-License-Identifier: Apache-2.0
import { parseL7 } from './parse-l7.ts';
import type { ItemContext } from './parse-context.ts';
import type { PortMatch, UnenforcedCondition } from './rule.ts';

const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  ANY: [6, 17, 132],
  TCP: [6],
  UDP: [17],
  SCTP: [132],
  ICMP: [1],
  ICMPV6: [58],
  VRRP: [112],
  IGMP: [2],
};
const PORTLESS: readonly string[] = ['VRRP', 'IGMP', 'ICMP', 'ICMPV6'];
const MAX_PORTS = 40;
const PORT_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

interface PortNumberOrName {
  readonly from: number;
  readonly to: number;
  readonly name?: string;
}

/** Parses `toPorts`: undefined where absent. */
export function parsePortRules(context: ItemContext, value: unknown, deny: boolean): PortMatch[] | undefined {
  const rules = context.read.list(value, context.at('toPorts'));
  if (rules === undefined) return undefined;
  const matches: PortMatch[] = [];
  rules.forEach((rule, index) => parsePortRule(context, rule, `toPorts[${index}]`, deny, matches));
  return matches;
}

const ALLOW_FIELDS = ['ports', 'rules', 'terminatingTLS', 'originatingTLS', 'serverNames', 'listener'];

function parsePortRule(
  context: ItemContext,
  value: unknown,
  where: string,
  deny: boolean,
  into: PortMatch[],
): void {
  const { read } = context;
  const path = context.at(where);
  const object = read.object(value, path, deny ? ['ports'] : ALLOW_FIELDS);
  if (!object) return;
  const ports = read.list(object['ports'], `${path}.ports`) ?? [];
  if (ports.length > MAX_PORTS) read.fail(`${path}.ports`, `at most ${MAX_PORTS} ports, not ${ports.length}`);
  const unenforced = deny ? undefined : parseL7(context, object, where, ports);
  const origin = context.origin(where);
  ports.forEach((port, index) => {
    const match = parsePort(context, port, `${path}.ports[${index}]`);
    if (match) into.push(withCondition({ ...match, origin }, unenforced));
  });
}

function withCondition(match: PortMatch, unenforced: UnenforcedCondition | undefined): PortMatch {
  return unenforced ? { ...match, unenforced } : match;
}

function parsePort(
  context: ItemContext,
  value: unknown,
  path: string,
): Omit<PortMatch, 'origin'> | undefined {
  const { read } = context;
  const object = read.object(value, path, ['port', 'endPort', 'protocol']);
  if (!object) return undefined;
  const protocolText = (read.text(object['protocol'], `${path}.protocol`) ?? 'ANY').toUpperCase() || 'ANY';
  const protocols = PROTOCOLS[protocolText];
  if (!protocols) {
    read.fail(
      `${path}.protocol`,
      `unknown protocol ${JSON.stringify(object['protocol'])}; known: ANY, TCP, UDP, SCTP, VRRP, IGMP`,
    );
    return undefined;
  }
  const text = read.text(object['port'], `${path}.port`);
  if (text === undefined) {
    if (object['port'] === undefined) read.fail(`${path}.port`, 'is missing');
    return undefined;
  }
  if (PORTLESS.includes(protocolText)) {
    if (text !== '0')
      read.fail(`${path}.port`, `must be "0" with protocol ${protocolText}, which has no ports`);
    return { protocols, from: 0, to: 65535 };
  }
  const parsed = parseNumberOrName(context, text, object['endPort'], path);
  return parsed && { protocols, ...parsed };
}

function parseNumberOrName(
  context: ItemContext,
  text: string,
  endPort: unknown,
  path: string,
): PortNumberOrName | undefined {
  const { read } = context;
  if (/^\d+$/.test(text)) {
    const from = Number(text);
    // A leading zero is read as octal by some tools and decimal by others; 0 is a wildcard nobody should write by accident.
    if (text.startsWith('0') || from > 65535) {
      read.fail(
        `${path}.port`,
        `${JSON.stringify(text)} is not a port: a number from 1 to 65535 without leading zeros, or a name`,
      );
      return undefined;
    }
    const to = endPort === 0 ? from : (read.integer(endPort, `${path}.endPort`, 1, 65535) ?? from);
    if (to < from) {
      read.fail(`${path}.endPort`, `${to} is smaller than port ${from}`);
      return undefined;
    }
    return { from, to };
  }
  const name = text.toLowerCase();
  if (
    name.length < 1 ||
    name.length > 15 ||
    !PORT_NAME.test(name) ||
    name.includes('--') ||
    !/[a-z]/.test(name)
  ) {
    read.fail(
      `${path}.port`,
      `${JSON.stringify(text)} is neither a number nor a port name (1 to 15 of a-z, 0-9 and -, with a letter)`,
    );
    return undefined;
  }
  if (endPort !== undefined && endPort !== null && endPort !== 0) {
    read.fail(`${path}.endPort`, 'cannot be used with a named port');
    return undefined;
  }
  return { from: 0, to: 0, name };
}

const ICMP_TYPES: Readonly<Record<'IPv4' | 'IPv6', Readonly<Record<string, number>>>> = {
  IPv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  IPv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequest: 144,
    HomeAgentAddressDiscoveryReply: 145,
    HomeAgentAddressDiscoveryRequestMessage: 144,
    HomeAgentAddressDiscoveryReplyMessage: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
};

/** Parses `icmps`: undefined where absent. */
export function parseIcmps(context: ItemContext, value: unknown): PortMatch[] | undefined {
  const { read } = context;
  const rules = read.list(value, context.at('icmps'));
  if (rules === undefined) return undefined;
  const matches: PortMatch[] = [];
  rules.forEach((rule, index) => {
    const where = `icmps[${index}]`;
    const path = context.at(where);
    const object = read.object(rule, path, ['fields']);
    const fields = read.list(object?.['fields'], `${path}.fields`) ?? [];
    if (fields.length > MAX_PORTS)
      read.fail(`${path}.fields`, `at most ${MAX_PORTS} fields, not ${fields.length}`);
    fields.forEach((field, at) => {
      const match = parseIcmpField(context, field, `${path}.fields[${at}]`);
      if (match) matches.push({ ...match, origin: context.origin(where) });
    });
  });
  return matches;
}

function parseIcmpField(
  context: ItemContext,
  value: unknown,
  path: string,
): Omit<PortMatch, 'origin'> | undefined {
  const { read } = context;
  const object = read.object(value, path, ['family', 'type']);
  if (!object) return undefined;
  const family = read.text(object['family'], `${path}.family`) ?? 'IPv4';
  if (family !== 'IPv4' && family !== 'IPv6') {
    read.fail(`${path}.family`, `${JSON.stringify(family)} is not one of IPv4, IPv6`);
    return undefined;
  }
  const raw = object['type'];
  const named = typeof raw === 'string' ? ICMP_TYPES[family][raw] : undefined;
  const type = named ?? (typeof raw === 'string' && /^\d{1,3}$/.test(raw) ? Number(raw) : raw);
  if (typeof type !== 'number' || !Number.isInteger(type) || type < 0 || type > 255) {
    read.fail(
      `${path}.type`,
      `${JSON.stringify(raw)} is not an ${family} ICMP type: 0 to 255 or a name such as EchoRequest`,
    );
    return undefined;
  }
  return { protocols: [family === 'IPv4' ? 1 : 58], from: type, to: type };
}
