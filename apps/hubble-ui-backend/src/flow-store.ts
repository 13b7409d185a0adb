// SPDX-License-Identifier: Apache-2.0
// The flows of the cluster, read from the relay for as long as we live, and who wants to hear of new ones.
import { errorMessage, type Logger, type Stoppable } from '@cilium-ts/base';
import { GetFlowsRequest, ObserverDefinition, type GetFlowsResponse } from '@cilium-ts/proto';
import { pause, RpcClient } from '@cilium-ts/rpc';
import { flowView, type FlowView } from './flow-view.ts';
import { ServiceMap } from './service-map.ts';

export interface Update {
  readonly flows: readonly FlowView[];
  readonly lost: number;
}

export interface RelayState {
  readonly address: string;
  readonly connected: boolean;
  readonly error: string;
  /** Milliseconds since the epoch, 0 for never. */
  readonly lastFlow: number;
}

const KEPT_MAX = 2000;
const RETRY_MS = 1000;
const BATCH_MS = 200;
const EXPIRE_MS = 60_000;

export class FlowStore implements Stoppable {
  readonly map = new ServiceMap();
  readonly #address: string;
  readonly #backfill: number;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  readonly #listeners = new Set<(update: Update) => void>();
  readonly #timers: NodeJS.Timeout[];
  #flows: FlowView[] = [];
  #seen = new Set<string>();
  #fresh: FlowView[] = [];
  #lost = 0;
  #state: RelayState;

  constructor(address: string, backfill: number, logger: Logger) {
    this.#address = address;
    this.#backfill = backfill;
    this.#logger = logger;
    this.#state = { address, connected: false, error: '', lastFlow: 0 };
    this.#timers = [
      setInterval(() => this.#tell(), BATCH_MS),
      setInterval(() => this.map.expire(Date.now()), EXPIRE_MS),
    ];
  }

  start(): this {
    void this.#follow();
    return this;
  }

  get state(): RelayState {
    return this.#state;
  }

  /** Newest last. */
  flows(limit: number, matches: (flow: FlowView) => boolean): FlowView[] {
    return limit <= 0 ? [] : this.#flows.filter(matches).slice(-limit);
  }

  /** Hears of flows that `flows` does not give yet. */
  subscribe(listener: (update: Update) => void): () => void {
    this.#tell();
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopping;
    const request = GetFlowsRequest.fromPartial({ follow: true, number: BigInt(this.#backfill) });
    while (!signal.aborted) {
      const client = new RpcClient(this.#address);
      try {
        const stream = client.stream(ObserverDefinition, ObserverDefinition.methods.getFlows, request, {
          signal,
        });
        stream.once('metadata', () => {
          this.#state = { ...this.#state, connected: true, error: '' };
          this.#logger.info({ relay: this.#address }, 'relay connected');
        });
        for await (const response of stream) this.#take(response as GetFlowsResponse);
        this.#disconnected('the relay ended the stream');
      } catch (error) {
        this.#disconnected(errorMessage(error));
      } finally {
        client.close();
      }
      await pause(RETRY_MS, signal);
    }
  }

  #disconnected(error: string): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#state.connected || this.#state.error === '')
      this.#logger.warn({ relay: this.#address, error }, 'no relay');
    this.#state = { ...this.#state, connected: false, error };
  }

  #take({ responseTypes: inner }: GetFlowsResponse): void {
    if (inner?.$case === 'lostEvents') this.#lost += Number(inner.value.numEventsLost);
    if (inner?.$case !== 'flow') return;
    const flow = flowView(inner.value);
    // A new connection brings flows that we had before.
    if (flow.uuid !== '' && this.#seen.has(flow.uuid)) return;
    this.#seen.add(flow.uuid);
    this.#flows.push(flow);
    this.#fresh.push(flow);
    this.map.add(flow);
    this.#state = { ...this.#state, lastFlow: Math.max(this.#state.lastFlow, flow.time) };
    if (this.#flows.length >= 2 * KEPT_MAX) {
      this.#flows = this.#flows.slice(-KEPT_MAX);
      this.#seen = new Set(this.#flows.map(({ uuid }) => uuid));
    }
  }

  #tell(): void {
    if (this.#fresh.length === 0 && this.#lost === 0) return;
    const update = { flows: this.#fresh, lost: this.#lost };
    this.#fresh = [];
    this.#lost = 0;
    for (const listener of this.#listeners) listener(update);
  }

  stop(): void {
    this.#stopping.abort();
    this.#timers.forEach((timer) => clearInterval(timer));
  }
}
