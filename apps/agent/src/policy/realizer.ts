// SPDX-License-Identifier: Apache-2.0
// Rule sets from the policy source become inner policy maps under new numbers; endpoints are flipped to them in one go.
// Identities that come and go are written into the maps that are there.
import type { PolicyEntry, PolicyKey } from '@cilium-ts/abi';
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { OuterMap } from '@cilium-ts/bpf';
import { CIDR_IDENTITY_MIN, cidrLabels } from '@cilium-ts/identity';
import { withSpan } from '@cilium-ts/telemetry';
import {
  SEMANTICS_VERSION,
  type CidrIdentity,
  type Direction,
  type LabelSelector,
  type PolicyPublication,
  type PolicyRevision,
  type RuleSet,
  type RuleSetEntry,
} from '@cilium-ts/policy';
import type { TableReader } from '@cilium-ts/tables';
import type { IdentityRow } from '../rows.ts';
import { PolicyMemory, RuleSetNumbers, type Decision, type PersistedPolicy } from './kept-policy.ts';
import { KnownIdentities } from './known-identities.ts';
import { PolicyMaps, type Realized } from './policy-maps.ts';
import { PublishedPolicy } from './published-policy.ts';
import { Signal } from './signal.ts';

/** The local endpoints, as far as policy needs them. */
export interface PolicyEndpoints {
  needed(): readonly { readonly identity: number; readonly pod: string; readonly ruleSetId: string }[];
  /** Rule set numbers in use. */
  numbers(): ReadonlySet<number>;
  /** Writes the numbers of all endpoints to the kernel; at once, in one turn of the loop. */
  flip(
    assign: (identity: number, pod: string) => Assignment | undefined,
    at: PolicyRevision | undefined,
  ): void;
}

export interface Assignment {
  readonly number: number;
  readonly ruleSetId: string;
}

export interface RealizerPorts {
  readonly map: OuterMap<number, PolicyKey, PolicyEntry>;
  readonly entriesMax: number;
  /** The cluster's, with their labels, and the reserved ones. */
  readonly identities: TableReader<IdentityRow>;
  readonly endpoints: PolicyEndpoints;
  /** Writes prefixes and resolves when the kernel has them. */
  readonly cidrs: (upserts: readonly CidrIdentity[], removals: readonly string[]) => Promise<void>;
  readonly raiseEpoch: () => void;
  readonly acknowledge: (at: PolicyRevision, error?: string) => void;
  /** Keeps what numbers mean, for the next start. */
  readonly persist: (state: PersistedPolicy) => void;
  readonly logger: Logger;
}

/** How long a number that nobody uses stays in the map, and its origins in memory. */
const REMOVE_AFTER_MS = 2000;
const FORGET_AFTER_MS = 120_000;
const RETRY_MS = 1000;

export class PolicyRealizer {
  readonly #ports: RealizerPorts;
  readonly #published = new PublishedPolicy();
  readonly #known: KnownIdentities;
  readonly #maps: PolicyMaps;
  readonly #numbers = new RuleSetNumbers();
  readonly #memory: PolicyMemory;
  readonly #rounds = new Signal();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Numbers of an earlier run that endpoints may still use. */
  #inherited: number[] = [];
  #acknowledged: PolicyRevision | undefined;
  #told: { readonly at: PolicyRevision | undefined; readonly error: string | undefined } = {
    at: undefined,
    error: undefined,
  };
  #error: string | undefined;
  #failures = 0;
  #chain: Promise<void> = Promise.resolve();
  #queued = false;
  #stopped = false;

  constructor(ports: RealizerPorts) {
    this.#ports = ports;
    this.#known = new KnownIdentities(ports.identities, () => void this.refresh());
    this.#maps = new PolicyMaps(ports.map, ports.entriesMax, this.#known.cache);
    this.#memory = new PolicyMemory(ports.persist, () => this.#snapshot());
  }

  get revision(): PolicyRevision | undefined {
    return this.#acknowledged;
  }

  /** Why the newest policy is not in the kernel, if so. */
  get error(): string | undefined {
    return this.#error;
  }

  get importErrors(): number {
    return this.#failures;
  }

  /**
   * Takes over the meaning of an earlier run's numbers: its maps stay in force as they are until identities are listed, and
   * are then made anew.
   */
  async restore(state: PersistedPolicy | undefined): Promise<void> {
    const present = await this.#maps.present();
    this.#inherited = [...present];
    if (state?.semantics !== SEMANTICS_VERSION) return;
    const kept = state.ruleSets.filter(({ number }) => present.has(number));
    for (const { number, ruleSet } of kept) this.#numbers.set(number, ruleSet);
    this.#published.restore({ ...state, ruleSets: kept.map(({ ruleSet }) => ruleSet) });
    this.#learnCidrs(state.cidrs);
    await this.#ports.cidrs(state.cidrs, []);
  }

  #learnCidrs(cidrs: readonly CidrIdentity[]): void {
    for (const { prefix, identity } of cidrs)
      if (identity >= CIDR_IDENTITY_MIN) this.#known.update(identity, cidrLabels(prefix));
  }

  receive(publication: PolicyPublication): void {
    this.#published.learn(publication);
    this.#learnCidrs(publication.cidrs);
    this.#ports.logger.info(
      {
        revision: publication.at.revision,
        epoch: publication.at.epoch,
        snapshot: publication.snapshot,
        ruleSets: publication.ruleSets.length,
        subjects: publication.subjects.length,
        removed: publication.removedSubjects.length,
      },
      'policy received',
    );
    void this.#enqueue(() => this.#round());
  }

  /** Makes the endpoints of now follow the policy of now; folded with rounds that are waiting. */
  refresh(): Promise<void> {
    if (!this.#queued) {
      this.#queued = true;
      void this.#enqueue(() => {
        this.#queued = false;
        return this.#round();
      });
    }
    return this.#chain;
  }

  ruleSetOf(identity: number, pod: string): RuleSet | undefined {
    return this.#published.ruleSetOf(identity, pod);
  }

  /** Resolves when there is a rule set for this identity, or after `timeoutMs`. */
  async waitForRuleSet(identity: number, pod: string, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.ruleSetOf(identity, pod) === undefined) {
      const left = deadline - performance.now();
      if (left <= 0 || this.#stopped) return false;
      await this.#rounds.next(left);
    }
    return true;
  }

  /** Whether the maps know the identity, waiting up to `timeoutMs`: without that nobody may have it. */
  waitForIdentity(identity: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        stop();
        resolve(false);
      }, timeoutMs);
      const stop = this.#known.whenKnown(identity, () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  /** Calls when the maps know the identity; returns the way to stop. */
  whenKnown(identity: number, tell: () => void): () => void {
    return this.#known.whenKnown(identity, tell);
  }

  #assign(identity: number, pod: string): Assignment | undefined {
    const ruleSet = this.ruleSetOf(identity, pod);
    const realized = ruleSet && this.#maps.get(ruleSet.id);
    if (!realized) return undefined;
    this.#numbers.set(realized.number, realized.ruleSet);
    return { number: realized.number, ruleSetId: realized.ruleSet.id };
  }

  /** One after another; one that fails is tried again, and does not keep the next from its turn. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#chain = this.#chain.then(work).catch((error: unknown) => {
      this.#failures++;
      this.#error = errorMessage(error);
      this.#ports.logger.error({ error: this.#error }, 'policy could not be realised, trying again');
      this.#later(RETRY_MS, () => void this.refresh());
    });
    return this.#chain;
  }

  async #round(): Promise<void> {
    // Before the identities are listed, maps would lack what is allowed by label.
    await this.#ports.identities.whenSynced();
    if (this.#stopped) return;
    this.#rounds.wake();
    const at = this.#published.at;
    try {
      await this.#followIdentities();
      await this.#writeCidrs();
      await withSpan('policy realise', { 'policy.revision': at?.revision ?? 0 }, () => this.#makeMaps());
      this.#error = undefined;
    } catch (error) {
      this.#failures++;
      this.#error = errorMessage(error);
      this.#ports.logger.error(
        { error: this.#error, revision: at?.revision },
        'policy could not be realised, the old one stays',
      );
    }
    try {
      this.#ports.endpoints.flip(
        (identity, pod) => this.#assign(identity, pod),
        this.#error === undefined ? at : undefined,
      );
    } finally {
      // Whatever was flipped is asked for anew.
      this.#ports.raiseEpoch();
    }
    if (this.#error === undefined) await this.#dropCidrs();
    this.#settle(at);
  }

  async #followIdentities(): Promise<void> {
    const changed = this.#known.take();
    try {
      await this.#maps.follow(changed);
    } catch (error) {
      this.#known.giveBack(changed);
      throw error;
    }
    this.#known.settled(changed);
  }

  async #writeCidrs(): Promise<void> {
    const work = this.#published.cidrsToWrite();
    await this.#ports.cidrs(work, []);
    this.#published.written(work);
  }

  /** After the flip: nobody asks for these any more. */
  async #dropCidrs(): Promise<void> {
    const work = this.#published.takeRemovedCidrs();
    if (work.length === 0) return;
    const prefixes = work.map(({ prefix }) => prefix);
    try {
      await this.#ports.cidrs([], prefixes);
    } catch (error) {
      this.#published.giveBackRemovedCidrs(work);
      throw error;
    }
    for (const { identity } of work)
      if (!this.#published.usesCidrIdentity(identity)) this.#known.update(identity, undefined);
  }

  #settle(at: PolicyRevision | undefined): void {
    const numbersNow = this.#maps.list().map(({ number }) => number);
    const mark = [...numbersNow, '', ...this.#ports.endpoints.numbers()].join();
    this.#memory.changed(mark, this.#published.at);
    if (this.#error !== undefined) this.#later(RETRY_MS, () => void this.refresh());
    const told = this.#told;
    this.#told = { at, error: this.#error };
    if (at !== undefined && (told.at !== at || told.error !== this.#error)) {
      if (this.#error === undefined) {
        this.#acknowledged = at;
        this.#ports.logger.info({ revision: at.revision, epoch: at.epoch }, 'policy realised');
      }
      this.#ports.acknowledge(at, this.#error);
    }
    if (this.#error !== undefined) return;
    const used = this.#usedIds();
    const unused = this.#maps.list().filter(({ ruleSet }) => !used.has(ruleSet.id));
    const numbers = [...unused.map(({ number }) => number), ...this.#inherited.splice(0)];
    if (numbers.length > 0)
      this.#later(REMOVE_AFTER_MS, () => void this.#enqueue(() => this.#removeUnused(numbers)));
  }

  /** Rule sets that local endpoints are to use, and those they use until then. */
  #usedIds(): Set<string> {
    const used = new Set<string>();
    for (const { identity, pod, ruleSetId } of this.#ports.endpoints.needed()) {
      const ruleSet = this.ruleSetOf(identity, pod);
      if (ruleSet) used.add(ruleSet.id);
      if (this.#published.knowsRuleSet(ruleSetId)) used.add(ruleSetId);
    }
    return used;
  }

  #makeMaps(): Promise<void> {
    const wanted = this.#ports.endpoints
      .needed()
      .map(({ identity, pod }) => this.ruleSetOf(identity, pod))
      .filter((ruleSet) => ruleSet !== undefined);
    return this.#maps.make([...new Set(wanted)]);
  }

  /** Numbers that some endpoint uses now stay; a later round looks at them again. */
  async #removeUnused(numbers: readonly number[]): Promise<void> {
    const inUse = this.#ports.endpoints.numbers();
    const used = this.#usedIds();
    const gone = numbers.filter((number) => {
      const ruleSet = this.#numbers.get(number);
      const current = ruleSet && used.has(ruleSet.id) && this.#maps.get(ruleSet.id)?.number === number;
      return !inUse.has(number) && !current;
    });
    this.#inherited.push(...numbers.filter((number) => inUse.has(number)));
    try {
      await this.#maps.remove(gone);
    } catch (error) {
      this.#ports.logger.warn({ error: errorMessage(error) }, 'cannot remove old rule sets');
    }
    this.#later(FORGET_AFTER_MS, () => this.#numbers.forget(gone));
  }

  #later(ms: number, work: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #snapshot(): Omit<PersistedPolicy, 'semantics'> {
    const inUse = this.#ports.endpoints.numbers();
    return {
      at: this.#published.at,
      ruleSets: this.#numbers.kept(
        (number, ruleSet) => inUse.has(number) || this.#maps.get(ruleSet.id)?.number === number,
      ),
      subjects: this.#published.subjects(),
      cidrs: this.#published.cidrs(),
    };
  }

  /** The rule set of a number, also of one that was replaced within the last two minutes. */
  ruleSetByNumber(number: number): RuleSet | undefined {
    return this.#numbers.get(number);
  }

  numberOf(ruleSetId: string): number | undefined {
    return this.#maps.get(ruleSetId)?.number;
  }

  /** What the policy map's entry stands for; undefined where the number is not known any more. */
  originOf(number: number, originId: number, direction: Direction): Decision | undefined {
    return this.#numbers.originOf(number, originId, direction);
  }

  /** What is in the kernel for a number; undefined for one of an earlier run. */
  entriesByNumber(number: number): RuleSetEntry[] | undefined {
    const ruleSet = this.#numbers.get(number);
    const realized = ruleSet && this.#maps.get(ruleSet.id);
    return realized?.number === number ? this.#maps.entries(ruleSet!.id) : undefined;
  }

  /** Identities that a selector selects now, as far as this node knows. */
  select(selector: LabelSelector): ReadonlySet<number> {
    return this.#known.cache.select(selector);
  }

  get cidrCount(): number {
    return this.#published.cidrCount;
  }

  ruleSets(): readonly Realized[] {
    return this.#maps.list();
  }

  cidrs(): readonly CidrIdentity[] {
    return this.#published.cidrs();
  }

  async stop(): Promise<void> {
    this.#memory.stop();
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#rounds.wake();
    await this.#chain;
    this.#maps.close();
  }
}
