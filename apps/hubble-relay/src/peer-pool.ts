// SPDX-License-Identifier: Apache-2.0
// The agents of the cluster: who they are, told by any one of them, and a connection to each that heals by itself.
import { errorMessage, type Logger, type Stoppable } from '@cilium-ts/base';
import { ChangeNotificationType, PeerDefinition, type ChangeNotification } from '@cilium-ts/proto';
import { pause, RpcClient, type ChannelState } from '@cilium-ts/rpc';

export interface Peer {
  readonly name: string;
  readonly address: string;
  readonly client: RpcClient;
}

const UPKEEP_MS = 500;
/** After this time a new stream of peers has told all of them. */
const SETTLE_MS = 2000;

export const isAvailable = ({ client }: Peer): boolean =>
  client.state !== 'transient-failure' && client.state !== 'shutdown';

export class PeerPool implements Stoppable {
  readonly #service: string;
  readonly #retryMs: number;
  readonly #logger: Logger;
  readonly #peers = new Map<string, Peer>();
  readonly #stopping = new AbortController();
  readonly #upkeep: NodeJS.Timeout;
  #connected = false;
  #told = new Set<string>();
  #lastError = '';

  constructor(service: string, retryMs: number, logger: Logger) {
    this.#service = service;
    this.#retryMs = retryMs;
    this.#logger = logger;
    this.#upkeep = setInterval(() => this.#connectAll(), UPKEEP_MS);
  }

  start(): this {
    void this.#followPeers();
    return this;
  }

  /** True while some agent tells about peers. */
  get connected(): boolean {
    return this.#connected;
  }

  peers(): Peer[] {
    return [...this.#peers.values()];
  }

  states(): Map<ChannelState, number> {
    const counts = new Map<ChannelState, number>();
    for (const { client } of this.#peers.values())
      counts.set(client.state, (counts.get(client.state) ?? 0) + 1);
    return counts;
  }

  async #followPeers(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const client = new RpcClient(this.#service);
      try {
        await this.#readChanges(client, signal);
        this.#fail('the peer service ended the stream');
      } catch (error) {
        this.#fail(errorMessage(error));
      } finally {
        this.#connected = false;
        client.close();
      }
      await pause(this.#retryMs, signal);
    }
  }

  #fail(message: string): void {
    if (this.#stopping.signal.aborted) return;
    const fields = { peerService: this.#service, error: message };
    if (message === this.#lastError) this.#logger.debug(fields, 'no peers');
    else this.#logger.warn(fields, 'no peers, trying again');
    this.#lastError = message;
  }

  async #readChanges(client: RpcClient, signal: AbortSignal): Promise<void> {
    this.#told = new Set();
    const stream = client.stream(PeerDefinition, PeerDefinition.methods.notify, {}, { signal });
    let settle: NodeJS.Timeout | undefined;
    try {
      for await (const change of stream) {
        if (!this.#connected) {
          this.#connected = true;
          this.#lastError = '';
          settle = setTimeout(() => this.#dropUntold(), SETTLE_MS);
        }
        this.#apply(change as ChangeNotification);
      }
    } finally {
      clearTimeout(settle);
    }
  }

  #apply({ name, address, type }: ChangeNotification): void {
    if (type === ChangeNotificationType.PEER_DELETED) {
      this.#told.delete(name);
      this.#remove(name);
      return;
    }
    if (type !== ChangeNotificationType.PEER_ADDED && type !== ChangeNotificationType.PEER_UPDATED) return;
    this.#told.add(name);
    const known = this.#peers.get(name);
    if (known?.address === address) return;
    known?.client.close();
    const client = new RpcClient(address);
    client.connect();
    this.#peers.set(name, { name, address, client });
    this.#logger.info({ peer: name, address }, 'peer');
  }

  #remove(name: string): void {
    const peer = this.#peers.get(name);
    if (!peer) return;
    this.#peers.delete(name);
    peer.client.close();
    this.#logger.info({ peer: name }, 'peer gone');
  }

  /** Peers of an earlier stream that the present one does not know. */
  #dropUntold(): void {
    for (const name of this.#peers.keys()) if (!this.#told.has(name)) this.#remove(name);
  }

  #connectAll(): void {
    for (const { client } of this.#peers.values()) if (client.state === 'idle') client.connect();
  }

  stop(): void {
    this.#stopping.abort();
    clearInterval(this.#upkeep);
    for (const { client } of this.#peers.values()) client.close();
    this.#peers.clear();
  }
}
