// SPDX-License-Identifier: Apache-2.0
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { errorMessage, silentLogger, type Logger, type Stoppable } from '@cilium-ts/base';

export interface BusOptions {
  /** Shown by the server for this client. */
  readonly name: string;
  /** Addresses (`host:port`) to try, asked anew for each attempt; empty while none is known. */
  readonly addresses: () => readonly string[];
  /** Runs for each connection, from the start: nothing of an earlier session is valid. What it throws ends the session. */
  readonly onSession: (session: NatsConnection) => Promise<void>;
  readonly onLost?: () => void;
  readonly log?: Logger;
}

const RETRY_MS = [20, 50, 100, 200, 400, 800];

/**
 * A connection that is made again for ever. It does not resume: after a loss there is a new session, since the server may
 * have come back without its data. That makes kill, restart, and loss of the store one case.
 */
export class BusConnection implements Stoppable {
  readonly #options: BusOptions;
  readonly #log: Logger;
  #session: NatsConnection | undefined;
  #stopped = false;
  #failures = 0;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #lastError = 'not connected yet';

  constructor(options: BusOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** Empty while connected. */
  get lastError(): string {
    return this.connected ? '' : this.#lastError;
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  /** Call when the addresses changed: a waiting attempt is made at once. */
  addressesChanged(): void {
    this.#failures = 0;
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#session?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#oneSession();
      } catch (error) {
        this.#lastError = errorMessage(error);
        if (this.#failures === 3)
          this.#log.warn({ error: this.#lastError }, 'NATS is out of reach, trying on');
      }
      if (!this.#stopped) await this.#pause();
    }
  }

  async #oneSession(): Promise<void> {
    const servers = [...this.#options.addresses()];
    if (servers.length === 0) throw new Error('no address of the NATS service is known yet');
    const session = await connect({
      servers,
      name: this.#options.name,
      reconnect: false,
      timeout: 2000,
      pingInterval: 5000,
      maxPingOut: 2,
    });
    if (this.#stopped) return void (await session.close());
    this.#session = session;
    this.#log.info({ server: session.getServer() }, 'connected to NATS');
    const closed = session.closed();
    try {
      await this.#options.onSession(session);
      this.#failures = 0;
      const error = await closed;
      if (error) this.#lastError = errorMessage(error);
    } finally {
      this.#session = undefined;
      this.#lastError ||= 'connection lost';
      await session.close().catch(() => undefined);
      this.#options.onLost?.();
      if (!this.#stopped) this.#log.warn({ error: this.#lastError }, 'NATS session ended');
    }
  }

  async #pause(): Promise<void> {
    const ms = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]!;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms * (0.75 + Math.random() / 2));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
