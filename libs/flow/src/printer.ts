// SPDX-License-Identifier: Apache-2.0
// One response as text: compact, dict, table row or JSON.
import {
  GetFlowsResponse,
  LostEventSource,
  NodeState,
  Verdict,
  type Flow,
  type LostEvent,
  type NodeStatusEvent,
} from '@cilium-ts/proto';
import {
  decidedByText,
  hostPort,
  safeText,
  sidesOf,
  typeText,
  verdictText,
  type NameOptions,
} from './render.ts';
import { formatTime, type TimeFormat } from './time-format.ts';

export const OUTPUT_FORMATS = ['compact', 'dict', 'json', 'jsonpb', 'table'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export interface PrintOptions extends NameOptions {
  readonly time: TimeFormat;
  readonly color: boolean;
  readonly nodeName: boolean;
  readonly debug: boolean;
}

export const TABLE_HEAD = ['TIMESTAMP', 'SOURCE', 'DESTINATION', 'TYPE', 'VERDICT', 'SUMMARY'] as const;

const COLORS = { red: 31, green: 32, yellow: 33, magenta: 35, cyan: 36 } as const;

function paint(text: string, color: keyof typeof COLORS, on: boolean): string {
  const safe = safeText(text);
  return on && safe !== '' ? `\x1b[${COLORS[color]}m${safe}\x1b[0m` : safe;
}

function verdictColor(verdict: Verdict): keyof typeof COLORS {
  if (verdict === Verdict.FORWARDED || verdict === Verdict.REDIRECTED) return 'green';
  return verdict === Verdict.DROPPED || verdict === Verdict.ERROR ? 'red' : 'yellow';
}

function summaryText(flow: Flow): string {
  const trace =
    flow.ipTraceId && flow.ipTraceId.traceId !== 0n ? `IP Trace ID: ${flow.ipTraceId.traceId}; ` : '';
  return safeText(trace + flow.Summary);
}

function paintedSide(side: { host: string; port: number; identity: string }, color: boolean): string {
  const host = side.port !== 0 && side.host.includes(':') ? `[${side.host}]` : side.host;
  const port = side.port === 0 ? '' : `:${paint(String(side.port), 'yellow', color)}`;
  return `${paint(host, 'cyan', color)}${port} ${paint(side.identity, 'magenta', color)}`;
}

export function compactFlow(flow: Flow, options: PrintOptions): string {
  const { color } = options;
  const { source, destination } = sidesOf(flow, options);
  const arrow = flow.isReply === undefined ? '<>' : flow.isReply ? '<-' : '->';
  const [left, right] = flow.isReply ? [destination, source] : [source, destination];
  const node = options.nodeName ? ` [${safeText(flow.nodeName)}]` : '';
  const verdict = paint(verdictText(flow), verdictColor(flow.verdict), color);
  const ends = `${paintedSide(left, color)} ${arrow} ${paintedSide(right, color)}`;
  const time = formatTime(flow.time, options.time);
  return `${time}${node}: ${ends} ${safeText(typeText(flow))} ${verdict} (${summaryText(flow)})${safeText(decidedByText(flow, options))}`;
}

export function dictFlow(flow: Flow, options: PrintOptions): string {
  const { source, destination } = sidesOf(flow, options);
  const decided = decidedByText(flow, options).trimStart().replace(/^BY /, '');
  const rows: [string, string][] = [
    ['TIMESTAMP', formatTime(flow.time, options.time)],
    ...(options.nodeName ? ([['NODE', flow.nodeName]] as [string, string][]) : []),
    ['SOURCE', hostPort(source)],
    ['DESTINATION', hostPort(destination)],
    ['TYPE', typeText(flow)],
    ['VERDICT', verdictText(flow)],
    ['SUMMARY', summaryText(flow)],
    ...(decided === '' ? [] : ([['POLICY', decided]] as [string, string][])),
  ];
  return rows.map(([name, value]) => `${name.padStart(11)}: ${safeText(value)}`).join('\n');
}

export function tableFlow(flow: Flow, options: PrintOptions): string[] {
  const { source, destination } = sidesOf(flow, options);
  const cells = [hostPort(source), hostPort(destination), typeText(flow), verdictText(flow)];
  const node = options.nodeName ? [flow.nodeName] : [];
  const summary = summaryText(flow) + decidedByText(flow, options);
  return [formatTime(flow.time, options.time), ...node, ...cells, summary].map(safeText);
}

export function tableHead(options: PrintOptions): string[] {
  const [time, ...rest] = TABLE_HEAD;
  return options.nodeName ? [time, 'NODE', ...rest] : [...TABLE_HEAD];
}

/** proto3 JSON with the names of the .proto files, times with all their digits. */
export function jsonResponse(response: GetFlowsResponse): string {
  const json = GetFlowsResponse.toJSON(response) as { flow?: Record<string, unknown>; time?: unknown };
  if (response.time) json.time = formatTime(response.time, 'RFC3339Nano');
  const inner = response.responseTypes;
  if (inner?.$case === 'flow' && inner.value.time && json.flow) {
    json.flow['time'] = formatTime(inner.value.time, 'RFC3339Nano');
  }
  return JSON.stringify(json);
}

const lostSource = (lost: LostEvent): string =>
  Object.entries(LostEventSource).find(([, number]) => number === lost.source)?.[0] ??
  'UNKNOWN_LOST_EVENT_SOURCE';

/** `EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12 (first: ..., last: ...)` */
export function lostText(lost: LostEvent, options: PrintOptions): string {
  const cpu = lost.cpu === undefined ? '' : ` CPU(${lost.cpu})`;
  const span =
    lost.first || lost.last
      ? ` (first: ${formatTime(lost.first, options.time)}, last: ${formatTime(lost.last, options.time)})`
      : '';
  return `EVENTS LOST: ${lostSource(lost)}${cpu} ${lost.numEventsLost}${span}`;
}

const NAMES_WIDTH = 50;

function joinNames(names: readonly string[]): string {
  let text = '';
  for (const [i, name] of names.entries()) {
    const next = text === '' ? name : `${text}, ${name}`;
    if (next.length > NAMES_WIDTH && i > 0) return `${text} (and ${names.length - i} more)`;
    text = next;
  }
  return text;
}

/** A line for standard error; undefined where only a debugging user wants it. */
export function nodeStatusText(status: NodeStatusEvent, debug: boolean): string | undefined {
  const names = safeText(joinNames(status.nodeNames));
  const count = status.nodeNames.length;
  switch (status.stateChange) {
    case NodeState.NODE_UNAVAILABLE:
      return `${count} nodes are unavailable: ${names}`;
    case NodeState.NODE_ERROR:
      return `Error ${JSON.stringify(status.message)} on ${count} nodes: ${names}`;
    case NodeState.NODE_CONNECTED:
      return debug ? `${count} nodes are connected: ${names}` : undefined;
    case NodeState.NODE_GONE:
      return debug ? `${count} nodes are gone: ${names}` : undefined;
    default:
      return undefined;
  }
}
