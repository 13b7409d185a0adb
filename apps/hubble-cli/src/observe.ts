// SPDX-License-Identifier: Apache-2.0
// hubble observe
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  compileFilters,
  OUTPUT_FORMATS,
  TIME_FORMATS,
  timestampMs,
  type OutputFormat,
  type PrintOptions,
} from '@cilium-ts/flow';
import { FlowFilter, GetFlowsRequest, GetFlowsResponse, ObserverDefinition } from '@cilium-ts/proto';
import { RPC_STATUS, rpcMessage, rpcStatus } from '@cilium-ts/rpc';
import { AppError, errorMessage } from '@cilium-ts/base';
import { Flags, helpText, parseArguments, usage, type FlagUse } from './arguments.ts';
import { connect } from './connection.ts';
import { filterLists, type FilterLists } from './filter-flags.ts';
import { FILTER_FLAGS, OBSERVE_FLAGS, SERVER_FLAGS } from './flags.ts';
import { BufferedOutput, FlowPrinter } from './output.ts';
import { parseTime } from './time-input.ts';

const DEFAULT_LAST = 20n;
const ALL = (1n << 64n) - 1n;
const INPUT_LAST_MAX = 1_000_000n;

export interface ObservePlan {
  readonly request: GetFlowsRequest;
  readonly format: OutputFormat;
  readonly print: PrintOptions;
  readonly filters: FilterLists;
  readonly flags: Flags;
}

/** @throws AppError `usage` */
export function planObserve(args: readonly string[], now: number, isTerminal: boolean): ObservePlan {
  const specs = [...OBSERVE_FLAGS, ...FILTER_FLAGS, ...SERVER_FLAGS];
  const { uses, words } = parseArguments(args, specs);
  if (words.length > 0 && !(words.length === 1 && words[0] === 'flows')) {
    throw usage(`unexpected argument: ${words.join(' ')}`);
  }
  const flags = new Flags(uses);
  const format = outputFormat(flags);
  const filters = withRaw(uses, flags);
  const request = GetFlowsRequest.fromPartial({
    ...selection(flags, now),
    whitelist: [...filters.allow],
    blacklist: [...filters.deny],
  });
  const mask = flags.all('field-mask').flatMap((text) => text.split(','));
  if (mask.length > 0) {
    if (format !== 'json' && format !== 'jsonpb') throw usage('--field-mask needs -o json');
    request.fieldMask = mask;
  }
  if (format === 'table' && request.follow) throw usage('-o table cannot be combined with --follow');
  return { request, format, print: printOptions(flags, isTerminal), filters, flags };
}

function outputFormat(flags: Flags): OutputFormat {
  const format = flags.choice('output', [...OUTPUT_FORMATS, 'tab'] as const, 'compact');
  return format === 'tab' ? 'table' : format;
}

function printOptions(flags: Flags, isTerminal: boolean): PrintOptions {
  const color = flags.choice('color', ['auto', 'always', 'never'] as const, 'auto');
  const translation = flags.text('ip-translation') !== 'false' && !flags.has('numeric');
  return {
    time: flags.choice('time-format', TIME_FORMATS, 'StampMilli'),
    color: color === 'always' || (color === 'auto' && isTerminal && !process.env['NO_COLOR']),
    nodeName: flags.has('print-node-name'),
    translate: translation,
    policyNames: flags.has('print-policy-names'),
    debug: flags.has('debug'),
  };
}

const EXCLUSIVE = [
  ['first', 'last'],
  ['first', 'all'],
  ['first', 'follow'],
  ['last', 'all'],
] as const;

function selection(
  flags: Flags,
  now: number,
): Pick<GetFlowsRequest, 'number' | 'follow' | 'first'> & {
  since?: GetFlowsRequest['since'];
  until?: GetFlowsRequest['until'];
} {
  for (const [one, other] of EXCLUSIVE) {
    if (flags.has(one) && flags.has(other)) throw usage(`--${one} and --${other} cannot be combined`);
  }
  const follow = flags.has('follow');
  const since = flags.text('since');
  const until = follow ? undefined : flags.text('until');
  const first = flags.count('first');
  const last = flags.count('last');
  const isOpen = follow || since !== undefined;
  const number = first ?? last ?? (flags.has('all') ? ALL : isOpen ? 0n : DEFAULT_LAST);
  return {
    number,
    follow,
    first: first !== undefined,
    ...(since === undefined ? {} : { since: parseTime(since, now) }),
    ...(until === undefined ? {} : { until: parseTime(until, now) }),
  };
}

function withRaw(uses: readonly FlagUse[], flags: Flags): FilterLists {
  const raw = (name: string): FlowFilter[] =>
    flags.all(name).map((text) => {
      try {
        return FlowFilter.fromJSON(JSON.parse(text));
      } catch (error) {
        throw usage(`--${name} ${text}: ${errorMessage(error)}`);
      }
    });
  const { allow, deny } = filterLists(uses);
  return { allow: [...allow, ...raw('allowlist')], deny: [...deny, ...raw('denylist')] };
}

function printRawFilters({ allow, deny }: FilterLists): string {
  const lines = (name: string, filters: readonly FlowFilter[]): string[] =>
    filters.length === 0
      ? []
      : [`${name}:`, ...filters.map((filter) => `    - '${JSON.stringify(FlowFilter.toJSON(filter))}'`)];
  return [...lines('allowlist', allow), ...lines('denylist', deny)].map((line) => `${line}\n`).join('');
}

export async function observe(args: readonly string[]): Promise<number> {
  if (args[0] === 'agent-events' || args[0] === 'debug-events')
    return (await import('./observe-events.ts')).observeEvents(args);
  if (args.includes('--help') || args.includes('-h')) {
    const flags = [...OBSERVE_FLAGS, ...FILTER_FLAGS, ...SERVER_FLAGS];
    process.stdout.write(helpText('Shows flows.', 'hubble observe [flags]', flags));
    return 0;
  }
  const plan = planObserve(args, Date.now(), process.stdout.isTTY);
  if (plan.flags.has('print-raw-filters')) {
    process.stdout.write(printRawFilters(plan.filters));
    return 0;
  }
  const output = new BufferedOutput();
  const sink = plan.flags.has('silent-errors')
    ? { out: (text: string) => output.out(text), err: () => undefined }
    : output;
  const printer = new FlowPrinter(plan.format, plan.print, sink);
  const file = plan.flags.text('input-file');
  if (file === undefined) await fromServer(plan, printer, output);
  else await fromFile(plan, file, printer, output);
  printer.end();
  await output.drained();
  return 0;
}

async function fromServer(plan: ObservePlan, printer: FlowPrinter, output: BufferedOutput): Promise<void> {
  const client = await connect(plan.flags);
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    const stream = client.stream(ObserverDefinition, ObserverDefinition.methods.getFlows, plan.request, {
      signal: abort.signal,
    });
    for await (const response of stream) {
      printer.print(response as GetFlowsResponse);
      if (process.stdout.writableNeedDrain) await output.drained();
    }
  } catch (error) {
    if (!abort.signal.aborted) throw observeError(error);
  } finally {
    client.close();
  }
}

function observeError(error: unknown): unknown {
  const code = rpcStatus(error);
  if (code === undefined) return error;
  const name = Object.entries(RPC_STATUS).find(([, number]) => number === code)?.[0] ?? String(code);
  return new AppError('rpc', `${rpcMessage(error)} (${name})`);
}

/** JSON lines in file order; the same filters, since, until, first and last. */
async function fromFile(
  plan: ObservePlan,
  file: string,
  printer: FlowPrinter,
  output: BufferedOutput,
): Promise<void> {
  const { request, flags } = plan;
  const passes = compileFilters(plan.filters.allow, plan.filters.deny);
  const since = timestampMs(request.since) ?? -Infinity;
  const until = timestampMs(request.until) ?? Infinity;
  const last = flags.has('last') ? request.number : undefined;
  if (last !== undefined && last > INPUT_LAST_MAX)
    throw usage(`--last is at most ${INPUT_LAST_MAX} with --input-file`);
  const kept: GetFlowsResponse[] = [];
  let printed = 0n;
  const input = file === '-' ? process.stdin : createReadStream(file);
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    const response = readResponse(line);
    if (!response) continue;
    const inner = response.responseTypes;
    const time = timestampMs(response.time) ?? 0;
    if (inner?.$case === 'flow' && (time < since || time > until || !passes(inner.value))) continue;
    if (last === undefined) printer.print(response);
    else {
      kept.push(response);
      if (BigInt(kept.length) > last) kept.shift();
    }
    if (request.first && ++printed >= request.number) break;
    if (process.stdout.writableNeedDrain) await output.drained();
  }
  for (const response of kept) printer.print(response);
}

function readResponse(line: string): GetFlowsResponse | undefined {
  if (line.trim() === '') return undefined;
  try {
    const json = JSON.parse(line) as Record<string, unknown>;
    // Exported files may hold bare flows.
    const isBare = !('flow' in json) && !('lost_events' in json) && !('node_status' in json);
    return GetFlowsResponse.fromJSON(
      isBare ? { flow: json, time: json['time'], node_name: json['node_name'] } : json,
    );
  } catch (error) {
    process.stderr.write(`ignored a line that is no flow: ${errorMessage(error)}\n`);
    return undefined;
  }
}
