// SPDX-License-Identifier: Apache-2.0
// Map contents as rows and as values. Each takes the open maps, the arguments and the options of its command.
import {
  ctAnyGlobalMap,
  CtFlags,
  CtFlagsNames,
  ctGlobalMap,
  ctHalfOpenMap,
  endpointsMap,
  ipcacheExactMap,
  ipcacheMap,
  lbAffinityMap,
  lbReverseNatMap,
  lbServicesMap,
  lbSlotsMap,
  forwardedMap,
  lxcMap,
  metricsMap,
  PolicyFlags,
  policyMap,
  snatMap,
  type CtEntry,
  type CtKey,
  type MetricsValue,
  type PolicyEntry,
  type PolicyKey,
} from '@cilium-ts/abi';
import {
  directionText,
  dropReasonText,
  forwardedMetric,
  sourceFileText,
  type IdentityModel,
} from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import type { MapSpec } from '@cilium-ts/bpf';
import { formatAddressPort, protocolName } from '@cilium-ts/net';
import { ask } from '../agent-client.ts';
import type { BpfOptions, Dump, PinnedMaps } from './pinned-maps.ts';

/** The generic two-column dump: table rows, and an object of arrays of text. */
function twoColumns(head: readonly [string, string], entries: readonly (readonly [string, string])[]): Dump {
  const value: Record<string, string[]> = {};
  for (const [key, text] of entries) (value[key] ??= []).push(text);
  return { rows: [head, ...entries], value };
}

const proto = protocolName;

/** The slot rows that users know, derived from ranges of the flat array. */
export async function listServices(
  maps: PinnedMaps,
  _: readonly string[],
  options: BpfOptions,
): Promise<Dump> {
  if (options.revnat) {
    const entries = await maps.entries(lbReverseNatMap);
    const rows = entries.map(
      ([{ id }, { addr, port }]) => [String(id), formatAddressPort(addr, port)] as const,
    );
    return twoColumns(['ID', 'BACKEND ADDRESS (REVNAT_ID) (SLOT)'], rows);
  }
  const services = (await maps.entries(lbServicesMap)).sort(([, a], [, b]) => a.id - b.id);
  const rows: [string, string][] = [];
  for (const [key, { id, offset, count }] of services) {
    const name = `${formatAddressPort(key.addr, key.port)}/${proto(key.protocol)}`;
    const none = key.addr.includes(':') ? '[::]:0' : '0.0.0.0:0';
    if (!options.backends) rows.push([`${name} (0)`, `${none} (${id}) (0) [ClusterIP, non-routable]`]);
    if (options.frontends) continue;
    const indexes = Array.from({ length: count }, (_unused, i) => ({ index: offset + i }));
    maps.lookups(lbSlotsMap, indexes).forEach((slot, i) => {
      if (!slot) return;
      const backend = `${formatAddressPort(slot.addr, slot.port)}/${proto(slot.protocol)}`;
      rows.push([`${name} (${i + 1})`, `${backend} (${id}) (${i + 1})`]);
    });
  }
  return twoColumns(['SERVICE ADDRESS', 'BACKEND ADDRESS (REVNAT_ID) (SLOT)'], rows);
}

const nowSeconds = (): number => Number(process.hrtime.bigint() / 1_000_000_000n);

/** One line per flow; our entries hold both directions. */
export function connectionText(key: CtKey, entry: CtEntry, remaining: number | undefined): string {
  const low = formatAddressPort(key.low, key.portLow);
  const high = formatAddressPort(key.high, key.portHigh);
  const fromHigh = (entry.flags & CtFlags.CT_ORIGIN_HIGH) !== 0;
  const [from, to] = fromHigh ? [high, low] : [low, high];
  const flags = Object.entries(CtFlagsNames)
    .filter(([bit, name]) => (entry.flags & Number(bit)) !== 0 && name !== 'CT_ORIGIN_HIGH')
    .map(([, name]) => name.replace('CT_', ''));
  const expires =
    remaining === undefined
      ? `expires=${entry.expires}`
      : `expires=${entry.expires} (remaining: ${remaining} sec(s))`;
  const kind = key.kind === 1 ? 'SVC' : (entry.flags & CtFlags.CT_EGRESS_OK) !== 0 ? 'OUT' : 'IN';
  return (
    `${proto(key.protocol)} ${kind} ${from} -> ${to} ${expires} ` +
    `Packets=${entry.packetsOrigin} Bytes=${entry.bytesOrigin} ReplyPackets=${entry.packetsReply} ReplyBytes=${entry.bytesReply} ` +
    `Flags=[ ${flags.join(' ')} ] RevNAT=${entry.service} SourceSecurityID=${entry.sourceIdentity}`
  );
}

export async function listConnections(
  maps: PinnedMaps,
  _: readonly string[],
  options: BpfOptions,
): Promise<Dump> {
  const all = await Promise.all([
    maps.entries(ctGlobalMap),
    maps.entries(ctHalfOpenMap),
    maps.entries(ctAnyGlobalMap),
  ]);
  const now = nowSeconds();
  const flows = all.flat();
  const rows = flows.map(([key, entry]) => [
    connectionText(key, entry, options.timeDiff ? entry.expires - now : undefined),
  ]);
  const value = flows.map(([key, entry]) => ({
    ...key,
    ...entry,
    protocol: proto(key.protocol),
    bytesOrigin: Number(entry.bytesOrigin),
    bytesReply: Number(entry.bytesReply),
  }));
  return { rows, value };
}

export async function listTranslations(maps: PinnedMaps): Promise<Dump> {
  const entries = await maps.entries(snatMap);
  const rows = entries.map(([key, entry]) => {
    const ends = `${formatAddressPort(key.source, key.sourcePort)} -> ${formatAddressPort(key.destination, key.destinationPort)}`;
    const what = key.reverse === 0 ? 'XLATE_SRC' : 'XLATE_DST';
    return [
      `${proto(key.protocol)} ${key.reverse === 0 ? 'OUT' : 'IN'} ${ends} ${what} ${formatAddressPort(entry.addr, entry.port)}`,
    ];
  });
  const value = entries.map(([key, entry]) => ({ ...key, ...entry, protocol: proto(key.protocol) }));
  return { rows: [['FLOW'], ...rows], value };
}

export async function listIpcache(maps: PinnedMaps): Promise<Dump> {
  const exact = (await maps.entries(ipcacheExactMap)).map(([key, value]) => ({
    prefix: hostPrefix(key.addr),
    value,
  }));
  const prefixes = (await maps.entries(ipcacheMap)).map(([key, value]) => {
    const bits = key.addr.includes(':') ? key.prefixlen : key.prefixlen - 96;
    return { prefix: `${key.addr || '::'}/${bits}`, value };
  });
  const entries = [...exact, ...prefixes]
    .sort((a, b) => (a.prefix < b.prefix ? -1 : 1))
    .map(({ prefix, value }) => {
      const node = value.node === '' ? '0.0.0.0' : value.node;
      return [
        prefix,
        `identity=${value.identity} encryptkey=0 tunnelendpoint=0.0.0.0 node=${node} flags=<none>`,
      ] as const;
    });
  return twoColumns(['IP PREFIX/ADDRESS', 'IDENTITY'], entries);
}

const hostPrefix = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

export async function listEndpoints(maps: PinnedMaps): Promise<Dump> {
  const devices = new Map((await maps.entries(endpointsMap)).map(([key, value]) => [key.ifindex, value]));
  const entries = (await maps.entries(lxcMap))
    .sort(([a], [b]) => (a.addr < b.addr ? -1 : 1))
    .map(([key, value]) => {
      const endpoint = devices.get(value.ifindex);
      if (!endpoint) return [`${key.addr}:0`, '(localhost)'] as const;
      const { identity, ruleSet, mac, nodeMac } = endpoint;
      return [
        `${key.addr}:0`,
        `id=${value.id} sec_id=${identity} flags=0x0000 ifindex=${value.ifindex} mac=${mac} nodemac=${nodeMac} ruleset=${ruleSet}`,
      ] as const;
    });
  return twoColumns(['IP ADDRESS', 'LOCAL ENDPOINT INFO'], entries);
}

const add = (sum: MetricsValue, value: MetricsValue): MetricsValue => ({
  packets: sum.packets + value.packets,
  bytes: sum.bytes + value.bytes,
});

export async function listMetrics(maps: PinnedMaps): Promise<Dump> {
  const drops = await maps.totals(metricsMap, add);
  const forwards = (await maps.totals(forwardedMap, add)).filter(([, sum]) => sum.packets > 0n);
  const totals = [...drops, ...forwards.map(([key, sum]) => [forwardedMetric(key), sum] as const)];
  const value = totals
    .map(([key, sum]) => ({
      reason: dropReasonText(key.reason),
      direction: directionText(key.direction).toLowerCase(),
      packets: Number(sum.packets),
      bytes: Number(sum.bytes),
      line: key.line,
      file: sourceFileText(key.file),
    }))
    .sort((a, b) => (a.reason + a.direction < b.reason + b.direction ? -1 : 1));
  const rows = value.map((one) => [
    one.reason,
    one.direction.toUpperCase(),
    String(one.packets),
    String(one.bytes),
    String(one.line),
    one.file,
  ]);
  return { rows: [['REASON', 'DIRECTION', 'PACKETS', 'BYTES', 'LINE', 'FILE'], ...rows], value };
}

/** Labels by identity from the agent, where one answers. */
async function identityLabels(): Promise<ReadonlyMap<number, readonly string[]>> {
  try {
    const identities = await ask<IdentityModel[]>('/identity', 2000);
    return new Map(identities.map((identity) => [identity.id, identity.labels]));
  } catch {
    return new Map();
  }
}

function portText({ protocol, port, prefixlen }: PolicyKey): string {
  if (protocol === 0) return 'ANY';
  const bits = prefixlen - 48;
  if (bits <= 0) return `ANY/${proto(protocol)}`;
  const end = port + 2 ** (16 - bits) - 1;
  return `${end === port ? port : `${port}-${end}`}/${proto(protocol)}`;
}

function verdictText({ flags }: PolicyEntry): string {
  if ((flags & PolicyFlags.POLICY_DENY) !== 0) return 'Deny';
  return (flags & PolicyFlags.POLICY_UNENFORCED) !== 0 ? 'Unenforced' : 'Allow';
}

export async function listPolicy(maps: PinnedMaps, args: readonly string[]): Promise<Dump> {
  const wanted = new Set(args.map(Number));
  if ([...wanted].some((id) => !Number.isInteger(id))) {
    throw new AppError('bad-usage', `bpf policy: not an endpoint id: ${args.join(' ')}`);
  }
  const endpoints = (await maps.entries(endpointsMap)).map(([, value]) => value);
  const chosen = endpoints
    .filter(({ id }) => wanted.size === 0 || wanted.has(id))
    .sort((a, b) => a.id - b.id);
  if (wanted.size > 0 && chosen.length === 0)
    throw new AppError('no-endpoint', `no endpoint ${args.join(' ')} in the kernel`);
  const labels = await identityLabels();
  const rows: string[][] = [
    [
      'ENDPOINT',
      'POLICY',
      'DIRECTION',
      'LABELS (source:key[=value])',
      'PORT/PROTO',
      'PROXY PORT',
      'AUTH TYPE',
      'PREFIX',
      'PRECEDENCE',
      'COOKIE',
    ],
  ];
  const value: unknown[] = [];
  for (const endpoint of chosen) {
    for (const [key, entry] of await maps.inner(policyMap, endpoint.ruleSet)) {
      const direction = key.direction === 1 ? 'Egress' : 'Ingress';
      const names = key.identity === 0 ? ['ANY'] : (labels.get(key.identity) ?? [String(key.identity)]);
      const [first = '', ...more] = names;
      const cells = [
        portText(key),
        'NONE',
        'disabled',
        String(entry.prefixBits),
        String(entry.precedence),
        String(entry.origin),
      ];
      rows.push([String(endpoint.id), verdictText(entry), direction, first, ...cells]);
      for (const label of more) rows.push(['', '', '', label, '', '', '', '', '', '']);
      value.push({
        endpoint: endpoint.id,
        ruleSet: endpoint.ruleSet,
        verdict: verdictText(entry),
        key,
        entry,
      });
    }
  }
  return { rows, value };
}

type Reader = (maps: PinnedMaps) => Promise<[unknown, unknown][]>;

function reader<K, V>(spec: MapSpec<K, V>): readonly [string, Reader] {
  return [spec.name, (maps) => maps.entries(spec)];
}

const PLAIN_MAPS: ReadonlyMap<string, Reader> = new Map([
  reader(ctAnyGlobalMap),
  reader(ctGlobalMap),
  reader(ctHalfOpenMap),
  reader(endpointsMap),
  reader(ipcacheExactMap),
  reader(ipcacheMap),
  reader(lbReverseNatMap),
  reader(lbAffinityMap),
  reader(lbServicesMap),
  reader(lbSlotsMap),
  reader(lxcMap),
  reader(snatMap),
]);

const plain = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? Number(part) : part));

/** `map get`: keys and values of any map that has one value for a key. */
export async function showMap(maps: PinnedMaps, [name = '']: readonly string[]): Promise<Dump> {
  const read = PLAIN_MAPS.get(name);
  if (!read) {
    throw new AppError(
      'bad-usage',
      `map get: ${JSON.stringify(name)} is none of ${[...PLAIN_MAPS.keys()].join(', ')}`,
    );
  }
  const entries = await read(maps);
  const value = entries.map(([key, content]) => ({
    key: plain(key),
    value: plain(content),
    'desired-action': 'ok',
  }));
  const rows = value.map((entry) => [entry.key, entry.value, 'sync', '']);
  return { rows: [['Key', 'Value', 'State', 'Error'], ...rows], value };
}
