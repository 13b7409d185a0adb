// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Logger } from '@cilium-ts/base';
import { Bucket, BusConnection, NatsEndpoints } from '@cilium-ts/bus';
import { ENDPOINT_SLICES, Reflector, type EndpointSlice, type KubeClient } from '@cilium-ts/kube';
import {
  ACK_BUCKET,
  POLICY_BUCKET,
  type NodeReport,
  type PolicyPublication,
  type PolicyRevision,
  type PolicySource,
  PublicationReader,
} from '@cilium-ts/policy';

export interface NatsPolicySourceOptions {
  readonly node: string;
  readonly log: Logger;
  /** `host:port`, several by commas; otherwise the Service is looked up. */
  readonly url?: string | undefined;
  /** `namespace/name`. */
  readonly service: string;
  readonly client: KubeClient;
  /** First and longest pause before a damaged publication is fetched again; default 1 s and 1 min. */
  readonly refetchMs?: { readonly first: number; readonly longest: number };
}

const REFETCH_MS = { first: 1000, longest: 60_000 };

/**
 * Compiled policy from the policy-compiler, by way of NATS. Out of reach, or with damaged documents, it says nothing and
 * nothing changes; what is damaged is fetched again, ever more seldom.
 */
export class NatsPolicySource implements PolicySource {
  readonly #options: NatsPolicySourceOptions;
  readonly #bus: BusConnection;
  readonly #endpoints: NatsEndpoints;
  readonly #slices: Reflector<EndpointSlice> | undefined;
  #reader: PublicationReader | undefined;
  #acks: Bucket | undefined;
  #report: NodeReport | undefined;
  #reporting = false;
  #bucket: Bucket | undefined;
  #stopWatch: (() => void) | undefined;
  #watches = 0;
  #refetches = 0;
  #refetch: NodeJS.Timeout | undefined;

  constructor(options: NatsPolicySourceOptions) {
    this.#options = options;
    this.#endpoints = new NatsEndpoints(() => this.#bus.addressesChanged());
    this.#slices = options.url ? undefined : this.#sliceReflector();
    this.#bus = new BusConnection({
      name: `agent ${options.node}`,
      addresses: () => (options.url ? options.url.split(',') : this.#endpoints.addresses),
      log: options.log,
      onSession: async (session) => {
        this.#bucket = await Bucket.open(session, POLICY_BUCKET);
        this.#acks = await Bucket.open(session, ACK_BUCKET);
        await this.#watch(this.#bucket);
        this.#sendReport();
      },
      onLost: () => {
        this.#acks = undefined;
        this.#bucket = undefined;
        this.#stopWatch = undefined;
      },
    });
  }

  start(onUpdate: (publication: PolicyPublication) => void): void {
    const onUsable = (publication: PolicyPublication): void => {
      this.#refetches = 0;
      onUpdate(publication);
    };
    this.#reader = new PublicationReader(onUsable, (at, message) => {
      this.#options.log.error(
        { ...at, problem: message },
        'published policy is damaged; what is in force stays',
      );
      const last = this.#report ?? { epoch: 0, revision: 0 };
      this.acknowledge({ epoch: last.epoch, revision: last.revision }, message);
      this.#scheduleRefetch();
    });
    this.#slices?.start();
    this.#bus.start();
  }

  acknowledge(at: PolicyRevision, error?: string): void {
    const { node } = this.#options;
    this.#report = {
      node,
      epoch: at.epoch,
      revision: at.revision,
      ...(error === undefined ? {} : { error }),
    };
    this.#sendReport();
  }

  state(): { kind: 'nats'; connected: boolean; detail: string; damage?: string } {
    const connected = this.#bus.connected;
    const { epoch, revision } = this.#reader?.revision ?? { epoch: 0, revision: 0 };
    const detail = connected ? `epoch ${epoch} revision ${revision}` : this.#bus.lastError;
    const damage = this.#reader?.problem;
    return { kind: 'nats', connected, detail, ...(damage === undefined ? {} : { damage }) };
  }

  /** The whole bucket and what follows; what an earlier watch still says is not heard. */
  async #watch(bucket: Bucket): Promise<void> {
    clearTimeout(this.#refetch);
    this.#refetch = undefined;
    this.#stopWatch?.();
    this.#stopWatch = undefined;
    const mine = ++this.#watches;
    const stop = await bucket.watch({
      onSnapshot: (entries) => {
        if (mine === this.#watches) this.#reader?.snapshot(entries);
      },
      onChange: (entry) => {
        if (mine === this.#watches) this.#reader?.change(entry);
      },
    });
    if (mine === this.#watches) this.#stopWatch = stop;
    else stop();
  }

  #scheduleRefetch(): void {
    if (this.#refetch !== undefined) return;
    const { first, longest } = this.#options.refetchMs ?? REFETCH_MS;
    const pause = Math.min(longest, first * 2 ** Math.min(this.#refetches++, 16));
    const again = async (): Promise<void> => {
      this.#refetch = undefined;
      const bucket = this.#bucket;
      // Without a session the next one fetches everything anyway.
      if (!bucket) return;
      try {
        await this.#watch(bucket);
      } catch (error) {
        this.#options.log.debug({ error: errorMessage(error) }, 'policy not fetched again');
        if (this.#bucket === bucket) this.#scheduleRefetch();
      }
    };
    this.#refetch = setTimeout(() => void again(), pause);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#refetch);
    this.#watches++;
    this.#bucket = undefined;
    await Promise.all([this.#bus.stop(), this.#slices?.stop()]);
  }

  /** One report in flight; the newest state goes next. */
  #sendReport(): void {
    const report = this.#report;
    const acks = this.#acks;
    if (!report || !acks || this.#reporting) return;
    this.#reporting = true;
    acks
      .put(this.#options.node, JSON.stringify(report))
      .catch((error: unknown) => this.#options.log.debug({ error: errorMessage(error) }, 'report not sent'))
      .finally(() => {
        this.#reporting = false;
        if (this.#report !== report) this.#sendReport();
      });
  }

  #sliceReflector(): Reflector<EndpointSlice> {
    const [namespace, name] = this.#options.service.split('/') as [string, string];
    const reflector = new Reflector({
      client: this.#options.client,
      resource: ENDPOINT_SLICES,
      namespace,
      labelSelector: `kubernetes.io/service-name=${name}`,
      log: this.#options.log,
    });
    reflector.subscribe({
      onAdd: (slice) => this.#endpoints.upsert(slice),
      onUpdate: (_, slice) => this.#endpoints.upsert(slice),
      onDelete: (slice) => this.#endpoints.delete(slice),
    });
    return reflector;
  }
}
