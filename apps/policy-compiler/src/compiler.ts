// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Clock, type Logger } from '@cilium-ts/base';
import { Bucket, BusConnection, NatsEndpoints, type BucketEntry } from '@cilium-ts/bus';
import {
  ConditionWriter,
  POLICY_STATUS_RESOURCES,
  type KubeClient,
  type KubeObject,
  type WantedConditions,
} from '@cilium-ts/kube';
import {
  ACK_BUCKET,
  AUDIT_ANNOTATION,
  COMPILER_BUCKET,
  POLICY_BUCKET,
  PolicyEngine,
  PolicyFeed,
  compareRevisions,
  conditionsOf,
  findConflicts,
  formatProblems,
  policyKey,
  type EngineOptions,
  type Finding,
  type NodeReport,
  type PolicyKind,
  type PolicyName,
  type PolicyObject,
  type Progress,
} from '@cilium-ts/policy';
import { Inputs } from './inputs.ts';
import { PublishedState } from './published-state.ts';
import { Publisher } from './publisher.ts';

export interface CompilerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Unique among compilers. */
  readonly name: string;
  readonly engine: EngineOptions;
  /** `namespace/name` of the NATS Service. */
  readonly natsService: string;
  /** `host:port`, several by commas; overrides the Service. */
  readonly natsUrl: string | undefined;
}

/** Changes are gathered this long, in milliseconds, and compiled as one. */
const BATCH_MS = 5;

/** Watch in, rule sets out: the standby compiles too, and publishes from the moment it leads. */
export class Compiler {
  readonly engine: PolicyEngine;
  readonly feed: PolicyFeed;
  readonly published = new PublishedState();
  readonly #options: CompilerOptions;
  readonly #inputs: Inputs;
  readonly #endpoints: NatsEndpoints;
  readonly #bus: BusConnection;
  readonly #publisher: Publisher;
  readonly #status: ConditionWriter;
  readonly #reports = new Map<string, NodeReport>();
  /** Revision that first contained the newest version of each object; undefined while unpublished. */
  readonly #revisions = new Map<string, number | undefined>();
  readonly #versions = new Map<string, string>();
  readonly #previous = new Map<string, PolicyObject>();
  #conflicting: ReadonlyMap<string, readonly Finding[]> | undefined;
  #memory: Bucket | undefined;
  #bucket: Bucket | undefined;
  #acks: Bucket | undefined;
  #attached = false;
  #synced = false;
  #memoryRead = false;
  #leading = false;
  /** The lead was won and not used yet. */
  #elected = false;
  #timer: NodeJS.Timeout | undefined;
  #publishing = false;
  #again = false;

  constructor(options: CompilerOptions) {
    this.#options = options;
    const { client, clock, log, name, natsService, natsUrl } = options;
    this.engine = new PolicyEngine(options.engine);
    this.feed = new PolicyFeed(this.engine);
    this.#publisher = new Publisher(name, clock, log);
    this.#endpoints = new NatsEndpoints(() => this.#bus.addressesChanged());
    this.#status = new ConditionWriter(client, clock, log, () => this.#conditions());
    this.#inputs = new Inputs(client, log, this.feed, natsService, {
      onChange: () => this.#changed(),
      onPolicy: (object, kind) => this.#policyChanged(object, kind),
      onPolicyDeleted: (object, kind) => this.#policyDeleted(object, kind),
      onNodes: () => this.#status.changed(),
      onNatsSlice: (slice, deleted) =>
        deleted ? this.#endpoints.delete(slice) : this.#endpoints.upsert(slice),
    });
    this.#bus = new BusConnection({
      name: `policy-compiler ${name}`,
      addresses: () => (natsUrl ? natsUrl.split(',') : this.#endpoints.addresses),
      log,
      onSession: (session) => this.#attach(session),
      onLost: () => this.#detach(),
    });
  }

  get ready(): boolean {
    return this.#synced;
  }

  get connected(): boolean {
    return this.#bus.connected;
  }

  get leading(): boolean {
    return this.#leading;
  }

  get revision(): { epoch: number; revision: number } {
    return this.#publisher.at;
  }

  get reports(): ReadonlyMap<string, NodeReport> {
    return this.#reports;
  }

  get nodes(): ReadonlySet<string> {
    return this.#inputs.nodes;
  }

  async start(): Promise<void> {
    this.#bus.start();
    await this.#inputs.start();
    this.#synced = true;
    this.#changed();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#status.stop();
    await Promise.all([this.#bus.stop(), this.#inputs.stop()]);
  }

  setLeading(leading: boolean): void {
    this.#leading = leading;
    this.#elected = leading;
    if (!leading) this.published.set(undefined);
    // Another compiler may have written in between: look at the bucket anew before the first word.
    this.#attached = false;
    this.#changed();
  }

  /** A node's acknowledgement that did not come over NATS; kept there, so that other compilers know it too. */
  report(report: NodeReport): void {
    this.#reports.set(report.node, report);
    this.#status.changed();
    this.#acks
      ?.put(report.node, JSON.stringify(report))
      .catch((error: unknown) => this.#log(error, 'report not kept'));
  }

  async #attach(session: Parameters<typeof Bucket.open>[0]): Promise<void> {
    this.#bucket = await Bucket.open(session, POLICY_BUCKET);
    this.#acks = await Bucket.open(session, ACK_BUCKET);
    await this.#acks.watch({
      onSnapshot: (entries) => {
        this.#reports.clear();
        for (const entry of entries) this.#reported(entry);
      },
      onChange: (entry) => this.#reported(entry),
    });
    this.#memory = await Bucket.open(session, COMPILER_BUCKET);
    await this.#readMemory(this.#memory);
    this.#attached = false;
    this.#changed();
  }

  #detach(): void {
    this.#bucket = undefined;
    this.#acks = undefined;
    this.#memory = undefined;
    this.#attached = false;
    this.#publisher.detach();
  }

  /** Last valid versions of objects that an earlier compiler kept in force. */
  async #readMemory(memory: Bucket): Promise<void> {
    for (const { value } of await memory.entries()) {
      if (value === undefined) continue;
      const object = JSON.parse(value) as PolicyObject & { kind: string; metadata: { uid?: string } };
      this.#previous.set(object.metadata.uid ?? '', object);
    }
    this.#memoryRead = true;
    for (const state of [...this.feed.states()]) {
      const object = this.#inputs.policyObject(state.id);
      if (state.problems.length > 0 && !state.previousInForce && object) {
        this.feed.upsertPolicy({ ...object, kind: state.id.kind } as never, this.#previous.get(state.uid));
      }
    }
  }

  #reported({ key, value }: BucketEntry): void {
    if (value === undefined) this.#reports.delete(key);
    else this.#reports.set(key, JSON.parse(value) as NodeReport);
    this.#status.changed();
  }

  #policyChanged(object: KubeObject, kind: PolicyKind): void {
    const { name, namespace, uid } = object.metadata;
    const id = (namespace === undefined ? { kind, name } : { kind, namespace, name }) as PolicyName;
    const key = policyKey(id);
    const { spec, specs } = object as PolicyObject;
    // Our own status writes come back as updates.
    const audit = object.metadata.annotations?.[AUDIT_ANNOTATION];
    const version = `${uid} ${JSON.stringify([spec, specs, audit])}`;
    if (this.#versions.get(key) === version) return;
    this.#versions.set(key, version);
    const state = this.feed.upsertPolicy(object as never, this.#previous.get(uid ?? ''));
    this.#conflicting = undefined;
    this.#revisions.set(key, undefined);
    if (state.problems.length > 0) {
      this.#options.log.warn({ ...id, problems: formatProblems(state.problems) }, 'invalid policy');
    }
    this.#remember(state.uid, this.feed.previousVersion(id));
    this.#status.changed();
  }

  #policyDeleted(object: KubeObject, kind: PolicyKind): void {
    const { name, namespace, uid } = object.metadata;
    const key = policyKey({ kind, name: name ?? '', ...(namespace === undefined ? {} : { namespace }) });
    this.feed.deletePolicy({ ...object, kind } as PolicyObject);
    this.#conflicting = undefined;
    this.#versions.delete(key);
    this.#revisions.delete(key);
    this.#remember(uid ?? '', undefined);
  }

  /** Keeps the version that stays in force, so that a restart of ours does not lose it. */
  #remember(uid: string, previous: PolicyObject | undefined): void {
    if (!this.#memory || !this.#leading) return;
    if (previous) {
      this.#previous.set(uid, previous);
      const { kind, metadata, spec, specs } = previous;
      const { name, namespace } = metadata ?? {};
      const audit = metadata?.annotations?.[AUDIT_ANNOTATION];
      const annotations = audit === undefined ? {} : { [AUDIT_ANNOTATION]: audit };
      const text = JSON.stringify({ kind, metadata: { name, namespace, uid, annotations }, spec, specs });
      this.#memory.put(uid, text).catch((error: unknown) => this.#log(error, 'last valid version not kept'));
    } else if (this.#previous.delete(uid)) {
      this.#memory
        .delete(uid)
        .catch((error: unknown) => this.#log(error, 'last valid version not forgotten'));
    }
  }

  #log(error: unknown, message: string): void {
    this.#options.log.warn({ error: errorMessage(error) }, message);
  }

  #changed(): void {
    if (!this.#synced) return;
    if (this.#publishing) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#publish(), BATCH_MS);
  }

  async #publish(): Promise<void> {
    this.#timer = undefined;
    this.#publishing = true;
    this.#again = false;
    try {
      await this.#publishOnce();
    } catch (error) {
      this.#attached = false;
      this.#log(error, 'policy not published, trying again');
      await new Promise((resolve) => setTimeout(resolve, 100));
      this.#again = this.#bus.connected;
    } finally {
      this.#publishing = false;
      if (this.#again) this.#changed();
    }
  }

  async #publishOnce(): Promise<void> {
    const bucket = this.#bucket;
    if (this.#leading && bucket && !this.#attached) {
      const { cidrs, next } = await this.#publisher.attach(bucket, this.#elected);
      this.#elected = false;
      // With nothing there, the numbers given here are those that nodes know best.
      this.engine.restoreCidrs(cidrs ?? this.engine.state().cidrs, next);
      this.#attached = true;
    }
    // Numbers of CIDRs and versions kept in force must be known before the first compile.
    if (!this.#memoryRead) return;
    const unpublished = [...this.#revisions]
      .filter(([, revision]) => revision === undefined)
      .map(([key]) => key);
    this.engine.compile();
    if (!this.#leading || !this.#attached) return;
    const state = this.engine.state();
    const isNew = await this.#publisher.publish(state);
    // The lead may have been lost during the write.
    if (this.#leading && (isNew || !this.published.now))
      this.published.set({ at: this.#publisher.at, state });
    // A change during the write marks its object anew, so only those from before count.
    for (const key of unpublished)
      if (this.#revisions.has(key)) this.#revisions.set(key, this.#publisher.at.revision);
    if (unpublished.length > 0) this.#status.changed();
  }

  /** Only the leader writes. */
  #conditions(): WantedConditions[] {
    if (!this.#leading || !this.#publisher.ready) return [];
    return [...this.feed.states()].flatMap((state) => {
      const resource = POLICY_STATUS_RESOURCES.get(state.id.kind);
      const object = this.#inputs.policyObject(state.id);
      if (!resource || !object) return [];
      return [{ resource, object, conditions: conditionsOf(state, this.#progress(state.id)) }];
    });
  }

  /** Looked for once after each change of a policy. */
  #conflicts(): ReadonlyMap<string, readonly Finding[]> {
    this.#conflicting ??= Map.groupBy(findConflicts([...this.engine.policies()]), ({ policy }) =>
      policyKey(policy.id),
    );
    return this.#conflicting;
  }

  #progress(id: PolicyName): Progress {
    const revision = this.#revisions.get(policyKey(id));
    const nodes = [...this.#inputs.nodes];
    const conflicts = this.#conflicts().get(policyKey(id));
    if (revision === undefined) return { revision, acknowledged: 0, nodes: nodes.length, conflicts };
    const wanted = { epoch: this.#publisher.at.epoch, revision };
    const reports = nodes.map((node) => this.#reports.get(node));
    const acknowledged = reports.filter((report) => report && compareRevisions(report, wanted) >= 0).length;
    const failed = reports.find((report) => report?.error !== undefined);
    return {
      revision,
      acknowledged,
      nodes: nodes.length,
      error: failed && `${failed.node}: ${failed.error}`,
      conflicts,
    };
  }
}
