// SPDX-License-Identifier: Apache-2.0
import { errorMessage, silentLogger, type Logger, type Stoppable } from '@cilium-ts/base';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import { LEASES } from './resources.ts';
import type { Lease } from './wire.ts';

export interface LeaderElectorOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique for each candidate. */
  readonly identity: string;
  /** Milliseconds; defaults 15,000, 10,000 and 2,000. */
  readonly leaseMs?: number | undefined;
  readonly renewDeadlineMs?: number | undefined;
  readonly retryMs?: number | undefined;
  readonly onStarted: () => void;
  /** Leadership is lost: stop writing at once. */
  readonly onStopped: () => void;
  readonly onLeader?: ((identity: string) => void) | undefined;
  readonly log?: Logger | undefined;
}

/**
 * One leader among several candidates, by a Lease. The clocks of candidates are not compared: a foreign lease counts as
 * expired when it did not change for its own duration as seen from here.
 */
export class LeaderElector implements Stoppable {
  readonly #options: LeaderElectorOptions;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #leading = false;
  #leader = '';
  #renewedAt = 0;
  #seenVersion = '';
  #seenAt = 0;

  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  get isLeader(): boolean {
    return this.#leading;
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  /** Gives the lease back, so that another candidate takes over at once. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    if (!this.#leading) return;
    this.#setLeading(false);
    await this.#release().catch((error: unknown) => {
      this.#log.warn({ error: errorMessage(error) }, 'lease not given back');
    });
  }

  async #run(): Promise<void> {
    const { renewDeadlineMs = 10_000, retryMs = 2_000 } = this.#options;
    while (!this.#abort.signal.aborted) {
      try {
        const holds = await this.#tryAcquire(Math.max(renewDeadlineMs / 2, 1000));
        if (holds) this.#renewedAt = performance.now();
        this.#setLeading(holds);
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        this.#log.debug({ error: errorMessage(error) }, 'lease not renewed');
        if (performance.now() - this.#renewedAt > renewDeadlineMs) this.#setLeading(false);
      }
      await this.#sleep(retryMs * (0.9 + Math.random() * 0.2));
    }
  }

  #setLeading(leading: boolean): void {
    if (leading === this.#leading) return;
    this.#leading = leading;
    const fields = { lease: this.#options.name, identity: this.#options.identity };
    this.#log.info(fields, leading ? 'leading' : 'no longer leading');
    if (leading) this.#options.onStarted();
    else this.#options.onStopped();
  }

  async #tryAcquire(timeoutMs: number): Promise<boolean> {
    const { client, namespace, name, identity, leaseMs = 15_000 } = this.#options;
    const call = { signal: this.#abort.signal, timeoutMs };
    let lease: Lease;
    try {
      lease = await client.get(LEASES, { namespace, name }, call);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await client.create(LEASES, { metadata: { namespace, name }, spec: this.#spec(undefined) }, call);
      this.#observe(identity);
      return true;
    }
    const holder = lease.spec?.holderIdentity ?? '';
    const version = lease.metadata.resourceVersion ?? '';
    if (version !== this.#seenVersion) {
      this.#seenVersion = version;
      this.#seenAt = performance.now();
    }
    const duration = (lease.spec?.leaseDurationSeconds ?? leaseMs / 1000) * 1000;
    if (holder !== '' && holder !== identity && performance.now() - this.#seenAt < duration) {
      this.#observe(holder);
      return false;
    }
    const updated = await client.update(LEASES, { ...lease, spec: this.#spec(lease) }, call);
    this.#seenVersion = updated.metadata.resourceVersion ?? '';
    this.#observe(identity);
    return true;
  }

  #observe(leader: string): void {
    if (leader === this.#leader) return;
    this.#leader = leader;
    this.#options.onLeader?.(leader);
  }

  #spec(old: Lease | undefined): NonNullable<Lease['spec']> {
    const { identity, leaseMs = 15_000 } = this.#options;
    const now = microTime();
    const mine = old?.spec?.holderIdentity === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.max(1, Math.round(leaseMs / 1000)),
      acquireTime: mine ? (old.spec?.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (old?.spec?.leaseTransitions ?? 0) + (old && !mine ? 1 : 0),
    };
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const lease = await client.get(LEASES, { namespace, name }, { timeoutMs: 2000 });
    if (lease.spec?.holderIdentity !== identity) return;
    const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime() };
    await client.update(LEASES, { ...lease, spec }, { timeoutMs: 2000 });
  }

  #sleep(ms: number): Promise<void> {
    const signal = this.#abort.signal;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}

/** Now, with the six decimals that the API's MicroTime wants. */
export function microTime(now: Date = new Date()): string {
  return now.toISOString().replace('Z', '000Z');
}
