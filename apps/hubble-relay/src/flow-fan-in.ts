// SPDX-License-Identifier: Apache-2.0
// One GetFlows of a client: asked of every agent, merged in order of time, with words about nodes that fail.
import {
  NodeState,
  ObserverDefinition,
  type GetFlowsRequest,
  type GetFlowsResponse,
  type NodeStatusEvent,
} from '@cilium-ts/proto';
import { pause, rpcMessage, type Outbox, type RpcMetadata } from '@cilium-ts/rpc';
import { Merger } from './merge.ts';
import { isAvailable, type Peer, type PeerPool } from './peer-pool.ts';
import { responseTime } from './response-time.ts';

export interface FanInOptions {
  readonly nodeName: string;
  readonly sortBufferMax: number;
  readonly sortBufferDrainMs: number;
}

const FOLLOW_HOLD_MS = 250;
const REATTACH_MS = 1000;
const TICK_MS = 50;
const ERROR_WINDOW_MS = 10_000;

/** Of the transport, not of the caller. */
const OWN_METADATA = /^(user-agent|te|content-type|accept-encoding|grpc-.*|:.*)$/;

export class FlowFanIn {
  readonly #pool: PeerPool;
  readonly #request: GetFlowsRequest;
  readonly #out: Outbox<GetFlowsResponse>;
  readonly #options: FanInOptions;
  readonly #merger: Merger<Buffer>;
  readonly #attached = new Set<string>();
  #running = 0;
  #pending: { message: string; names: string[]; since: number } | undefined;
  #blocked: Promise<void> | undefined;

  constructor(
    pool: PeerPool,
    request: GetFlowsRequest,
    out: Outbox<GetFlowsResponse>,
    options: FanInOptions,
  ) {
    this.#pool = pool;
    this.#request = request;
    this.#out = out;
    this.#options = options;
    const holdMs = request.follow ? FOLLOW_HOLD_MS : options.sortBufferDrainMs;
    // Silent nodes are normal to a follower; otherwise each node has an end, and order is worth the wait.
    const max = request.follow ? options.sortBufferMax : Infinity;
    this.#merger = new Merger({ holdMs, max, now: () => performance.now() });
  }

  async run(): Promise<void> {
    const { signal } = this.#out;
    const { follow } = this.#request;
    this.#announce();
    this.#attach();
    let lastAttach = performance.now();
    while (!signal.aborted && (follow || this.#running > 0 || this.#merger.waiting > 0)) {
      await this.#emit();
      this.#flushErrors(false);
      if (follow && performance.now() - lastAttach >= REATTACH_MS) {
        this.#attach();
        lastAttach = performance.now();
      }
      if (follow || this.#running > 0) await Promise.race([this.#arrival(), pause(TICK_MS, signal)]);
    }
    await this.#emit();
    this.#flushErrors(true);
  }

  #wake: () => void = () => undefined;

  #arrival(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** Until some other node has shown more, or time has passed. */
  #progress(): Promise<void> {
    return pause(TICK_MS / 10, this.#out.signal);
  }

  #announce(): void {
    const peers = this.#pool.peers();
    const names = (wanted: boolean): string[] =>
      peers
        .filter((peer) => isAvailable(peer) === wanted)
        .map(({ name }) => name)
        .sort();
    for (const [state, found] of [
      [NodeState.NODE_CONNECTED, names(true)],
      [NodeState.NODE_UNAVAILABLE, names(false)],
    ] as const) {
      if (found.length > 0) this.#tell({ stateChange: state, nodeNames: found, message: '' });
    }
  }

  #tell(value: NodeStatusEvent): void {
    const now = Date.now();
    const time = { seconds: BigInt(Math.floor(now / 1000)), nanos: (now % 1000) * 1e6 };
    this.#out.write({
      responseTypes: { $case: 'nodeStatus', value },
      nodeName: this.#options.nodeName,
      time,
    });
  }

  /** Opens a stream to each available agent that has none. */
  #attach(): void {
    for (const peer of this.#pool.peers()) {
      if (this.#attached.has(peer.name) || !isAvailable(peer)) continue;
      this.#attached.add(peer.name);
      this.#running++;
      void this.#pump(peer, this.#request).finally(() => {
        this.#running--;
        this.#wake();
      });
    }
  }

  async #pump(peer: Peer, request: GetFlowsRequest): Promise<void> {
    const { signal } = this.#out;
    this.#merger.open(peer);
    try {
      const metadata = forwarded(this.#out.metadata);
      const { getFlows } = ObserverDefinition.methods;
      for await (const bytes of peer.client.rawStream(ObserverDefinition, getFlows, request, {
        signal,
        metadata,
      })) {
        const message = bytes as Buffer;
        this.#merger.push(peer, responseTime(message), message);
        this.#wake();
        while (this.#merger.waitingOf(peer) >= this.#options.sortBufferMax && !signal.aborted) {
          await this.#emit();
          if (this.#merger.waitingOf(peer) >= this.#options.sortBufferMax) await this.#progress();
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(peer.name, rpcMessage(error));
    } finally {
      this.#merger.close(peer);
      // A follower comes back to an agent that was restarted.
      if (request.follow) this.#attached.delete(peer.name);
    }
  }

  /** Writes what is ready; all callers wait for a slow client together. */
  async #emit(): Promise<void> {
    while (this.#blocked) await this.#blocked;
    for (let message = this.#merger.next(); message; message = this.#merger.next()) {
      if (this.#out.write(message)) continue;
      this.#blocked = this.#out.drained().then(() => (this.#blocked = undefined));
      await this.#blocked;
    }
  }

  /** Equal texts within ten seconds are told once, with all names. */
  #fail(name: string, message: string): void {
    if (this.#pending && this.#pending.message !== message) this.#flushErrors(true);
    this.#pending ??= { message, names: [], since: performance.now() };
    if (!this.#pending.names.includes(name)) this.#pending.names.push(name);
  }

  #flushErrors(atOnce: boolean): void {
    const pending = this.#pending;
    if (!pending || (!atOnce && performance.now() - pending.since < ERROR_WINDOW_MS)) return;
    this.#pending = undefined;
    this.#tell({
      stateChange: NodeState.NODE_ERROR,
      nodeNames: pending.names.sort(),
      message: pending.message,
    });
  }
}

function forwarded(metadata: RpcMetadata): RpcMetadata {
  const copy = metadata.clone();
  for (const key of Object.keys(copy.getMap())) if (OWN_METADATA.test(key)) copy.remove(key);
  return copy;
}
