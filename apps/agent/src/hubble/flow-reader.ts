// SPDX-License-Identifier: Apache-2.0
// One GetFlows request: where to start, what to pass, when to end.
import {
  buildFlow,
  compileFilters,
  compileMask,
  timestamp,
  type FlowLookups,
  type FlowRecord,
} from '@cilium-ts/flow';
import {
  LostEventSource,
  type Flow,
  type GetFlowsRequest,
  type GetFlowsResponse,
  type LostEvent,
  type Timestamp,
} from '@cilium-ts/proto';
import { RPC_STATUS, RpcError, type Outbox } from '@cilium-ts/rpc';
import { isLost, type FlowRing, type LostRecord } from './ring.ts';

/** Entries looked at before other work gets its turn. */
const SLICE = 256;
const LOST_INTERVAL_MS = 1000;
const LOST_INTERVAL_NS = BigInt(LOST_INTERVAL_MS) * 1_000_000n;

const nanosOf = (time: Timestamp | undefined): bigint | undefined =>
  time && time.seconds * 1_000_000_000n + BigInt(time.nanos);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The places of matching entries, oldest first; a message that was built to be judged is kept for sending. */
interface Found {
  readonly start: number;
  readonly built: Map<number, Flow | undefined>;
}

export class FlowReader {
  readonly #ring: FlowRing;
  readonly #lookups: FlowLookups;
  readonly #request: GetFlowsRequest;
  readonly #out: Outbox<GetFlowsResponse>;
  readonly #now: () => bigint;
  readonly #passes: (flow: Flow) => boolean;
  readonly #mask: ((flow: Flow) => Flow) | undefined;
  readonly #since: bigint | undefined;
  readonly #until: bigint | undefined;
  #overtaken = { count: 0, first: 0n, last: 0n, toldAt: 0n };

  /** @throws AppError `bad-filter`, `unsupported-filter`, `bad-field-mask`; RpcError */
  constructor(
    ring: FlowRing,
    lookups: FlowLookups,
    request: GetFlowsRequest,
    out: Outbox<GetFlowsResponse>,
    now: () => bigint,
  ) {
    if (request.first && request.follow) {
      throw new RpcError(RPC_STATUS.INVALID_ARGUMENT, 'first cannot be combined with follow');
    }
    this.#ring = ring;
    this.#lookups = lookups;
    this.#request = request;
    this.#out = out;
    this.#now = now;
    this.#passes = compileFilters(request.whitelist, request.blacklist);
    this.#mask =
      request.fieldMask && request.fieldMask.length > 0 ? compileMask(request.fieldMask) : undefined;
    this.#since = nanosOf(request.since);
    this.#until = nanosOf(request.until);
  }

  async run(): Promise<void> {
    const { follow, number } = this.#request;
    const { signal } = this.#out;
    const limit = !follow && number > 0n ? number : undefined;
    const found = await this.#findStart();
    let position = found.start;
    let sent = 0n;
    let looked = 0;
    while (!signal.aborted) {
      if (position >= this.#ring.end) {
        if (!follow) break;
        this.#tellOvertaken(false);
        await this.#ring.whenWritten(this.#untilTold(signal));
        continue;
      }
      position = this.#catchUp(position);
      const entry = this.#ring.at(position)!;
      if (isLost(entry)) this.#sendLost(entry);
      else {
        if (this.#until !== undefined && entry.time > this.#until) break;
        if (this.#send(entry, position, found.built)) sent++;
        if (limit !== undefined && sent >= limit) break;
      }
      position++;
      if (++looked % SLICE === 0) await turn();
      if (this.#mustDrain) await this.#drain();
    }
    this.#tellOvertaken(true);
  }

  #mustDrain = false;

  async #drain(): Promise<void> {
    this.#mustDrain = false;
    await this.#out.drained();
  }

  async #findStart(): Promise<Found> {
    const { first, follow, number } = this.#request;
    const built = new Map<number, Flow | undefined>();
    const { start, end } = this.#ring;
    if (first && this.#since === undefined) return { start, built };
    if (follow && number === 0n && this.#since === undefined) return { start: end, built };
    const wanted = first ? 0n : number;
    let matches = 0n;
    let looked = 0;
    let at = end;
    while (at > this.#ring.start) {
      const entry = this.#ring.at(at - 1);
      if (!entry || (this.#since !== undefined && entry.time < this.#since)) break;
      at--;
      if (wanted === 0n || isLost(entry) || (this.#until !== undefined && entry.time > this.#until)) continue;
      const flow = buildFlow(this.#lookups, entry);
      const isMatch = this.#passes(flow);
      built.set(at, isMatch ? flow : undefined);
      if (isMatch && ++matches >= wanted) break;
      if (++looked % SLICE === 0) await turn();
    }
    return { start: at, built };
  }

  /** True where the record was sent. */
  #send(record: FlowRecord, position: number, built: Map<number, Flow | undefined>): boolean {
    if (this.#since !== undefined && record.time < this.#since) return false;
    let flow: Flow | undefined;
    if (built.has(position)) {
      flow = built.get(position);
      built.delete(position);
    } else {
      const made = buildFlow(this.#lookups, record);
      flow = this.#passes(made) ? made : undefined;
    }
    if (!flow) return false;
    const value = this.#mask ? this.#mask(flow) : flow;
    this.#write({ responseTypes: { $case: 'flow', value }, nodeName: value.nodeName, time: value.time });
    return true;
  }

  #write(response: GetFlowsResponse): void {
    if (!this.#out.write(response)) this.#mustDrain = true;
  }

  /** A reader that the writer has overtaken goes on at the oldest entry and is told, at most once per second. */
  #catchUp(position: number): number {
    const { start } = this.#ring;
    if (position >= start) return position;
    const now = this.#now();
    if (this.#overtaken.count === 0) this.#overtaken.first = now;
    this.#overtaken.count += start - position;
    this.#overtaken.last = now;
    this.#tellOvertaken(false);
    return start;
  }

  /** A loss that is not told yet ends the wait in time, also where nothing more is written. */
  #untilTold(signal: AbortSignal): AbortSignal {
    return this.#overtaken.count === 0
      ? signal
      : AbortSignal.any([signal, AbortSignal.timeout(LOST_INTERVAL_MS)]);
  }

  #tellOvertaken(atEnd: boolean): void {
    const { count, first, last, toldAt } = this.#overtaken;
    const now = this.#now();
    if (count === 0 || (!atEnd && now - toldAt < LOST_INTERVAL_NS)) return;
    this.#overtaken = { count: 0, first: 0n, last: 0n, toldAt: now };
    const source = LostEventSource.HUBBLE_RING_BUFFER;
    const span = { first: timestamp(first), last: timestamp(last) };
    this.#writeLost({ source, numEventsLost: BigInt(count), cpu: undefined, ...span }, now);
  }

  #sendLost({ lost, source, time }: LostRecord): void {
    const kind =
      source === 'datapath' ? LostEventSource.PERF_EVENT_RING_BUFFER : LostEventSource.OBSERVER_EVENTS_QUEUE;
    const event = {
      source: kind,
      numEventsLost: BigInt(lost),
      cpu: undefined,
      first: undefined,
      last: undefined,
    };
    this.#writeLost(event, time);
  }

  #writeLost(value: LostEvent, time: bigint): void {
    const nodeName = this.#lookups.nodeName;
    this.#write({ responseTypes: { $case: 'lostEvents', value }, nodeName, time: timestamp(time) });
  }
}
