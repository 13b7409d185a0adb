// SPDX-License-Identifier: Apache-2.0
// Rule sets from the policy source become inner policy maps under new numbers; endpoints are flipped to them in one go.
import {
  PolicyFlags,
  PolicyPrefix,
  TrafficDirection,
  type PolicyEntry,
  type PolicyKey,
} from '@cilium-ts/abi';
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import type { BpfMap, OuterMap } from '@cilium-ts/bpf';
import { withSpan } from '@cilium-ts/telemetry';
import {
  ruleSetIdOf,
  type CidrIdentity,
  type Direction,
  type Origin,
  type PolicyPublication,
  type PolicyRevision,
  type RuleSet,
  type RuleSetEntry,
  type Subject,
} from '@cilium-ts/policy';

/** The local endpoints, as far as policy needs them. */
export interface PolicyEndpoints {
  needed(): readonly { readonly identity: number; readonly pod: string; readonly ruleSetId: string }[];
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
  readonly endpoints: PolicyEndpoints;
  /** Writes prefixes and resolves when the kernel has them. */
  readonly cidrs: (upserts: readonly CidrIdentity[], removals: readonly string[]) => Promise<void>;
  readonly raiseEpoch: () => void;
  readonly acknowledge: (at: PolicyRevision, error?: string) => void;
  /** Keeps what numbers mean, for the next start. */
  readonly persist: (state: PersistedPolicy) => void;
  readonly logger: Logger;
}

export interface PersistedPolicy {
  readonly at: PolicyRevision | undefined;
  readonly ruleSets: readonly { readonly number: number; readonly ruleSet: RuleSet }[];
  readonly subjects: readonly Subject[];
  readonly cidrs: readonly CidrIdentity[];
}

/** What decided a packet: the entry's origin, or the policies that isolate the endpoint. */
export type Decision =
  | { readonly kind: 'origin'; readonly origin: Origin }
  | { readonly kind: 'default-deny'; readonly isolatedBy: readonly Origin[] };

/** How long a number that nobody uses stays in the map, and its origins in memory. */
const REMOVE_AFTER_MS = 2000;
const FORGET_AFTER_MS = 120_000;
const RETRY_MS = 1000;

interface Realized {
  readonly number: number;
  readonly ruleSet: RuleSet;
}

export function encodeEntry(entry: RuleSetEntry): [PolicyKey, PolicyEntry] {
  const bits = entry.protocol === 0 ? 0 : 8 + entry.portPrefix;
  const flags =
    entry.verdict === 'deny'
      ? PolicyFlags.POLICY_DENY
      : entry.verdict === 'unenforced'
        ? PolicyFlags.POLICY_UNENFORCED
        : 0;
  return [
    {
      prefixlen: PolicyPrefix.POLICY_PREFIX_L3 + bits,
      identity: entry.identity,
      direction: entry.direction === 'egress' ? TrafficDirection.DIR_EGRESS : TrafficDirection.DIR_INGRESS,
      protocol: entry.protocol,
      port: entry.port,
    },
    { origin: entry.origin, precedence: entry.precedence, l7RuleSet: entry.l7 ?? 0, flags, prefixBits: bits },
  ];
}

export class PolicyRealizer {
  readonly #ports: RealizerPorts;
  readonly #documents = new Map<string, RuleSet>();
  readonly #subjects = new Map<number, Subject>();
  readonly #cidrs = new Map<string, CidrIdentity>();
  readonly #realized = new Map<string, Realized>();
  /** Number -> rule set, also of those that were removed a short while ago. */
  readonly #byNumber = new Map<number, RuleSet>();
  readonly #waiters = new Set<() => void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #next = 1;
  #at: PolicyRevision | undefined;
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

  /** Takes over the pinned maps of an earlier run; numbers that the map does not have are dropped. */
  async restore(state: PersistedPolicy | undefined): Promise<void> {
    const present = new Set((await this.#ports.map.entries()).map(([number]) => number));
    this.#next = Math.max(0, ...present) + 1;
    for (const { number, ruleSet } of state?.ruleSets ?? []) {
      if (!present.delete(number)) continue;
      this.#documents.set(ruleSet.id, ruleSet);
      this.#realized.set(ruleSet.id, { number, ruleSet });
      this.#byNumber.set(number, ruleSet);
    }
    // Numbers without meaning: endpoints using them are flipped by the first publication, then they go.
    if (present.size > 0) this.#later(REMOVE_AFTER_MS * 5, () => void this.#removeUnused([...present]));
    if (!state) return;
    for (const subject of state.subjects) this.#subjects.set(subject.identity, subject);
    for (const cidr of state.cidrs) this.#cidrs.set(cidr.prefix, cidr);
    this.#at = state.at;
    await this.#ports.cidrs(state.cidrs, []);
  }

  receive(publication: PolicyPublication): void {
    const removedCidrs = this.#learn(publication);
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
    this.#chain = this.#chain.then(() => this.#round(publication.cidrs, removedCidrs));
  }

  /** Puts the publication into memory; returns prefixes to remove after the flip. */
  #learn(publication: PolicyPublication): string[] {
    const removed = new Set(publication.removedCidrs);
    if (publication.snapshot) {
      const cidrs = new Set(publication.cidrs.map((cidr) => cidr.prefix));
      for (const prefix of this.#cidrs.keys()) if (!cidrs.has(prefix)) removed.add(prefix);
      this.#subjects.clear();
      const kept = new Set(publication.ruleSets.map((ruleSet) => ruleSet.id));
      for (const id of this.#documents.keys()) if (!kept.has(id)) this.#documents.delete(id);
    }
    for (const ruleSet of publication.ruleSets) this.#documents.set(ruleSet.id, ruleSet);
    for (const subject of publication.subjects) this.#subjects.set(subject.identity, subject);
    for (const identity of publication.removedSubjects) this.#subjects.delete(identity);
    for (const cidr of publication.cidrs) {
      this.#cidrs.set(cidr.prefix, cidr);
      removed.delete(cidr.prefix);
    }
    for (const prefix of removed) this.#cidrs.delete(prefix);
    this.#at = publication.at;
    return [...removed];
  }

  /** Makes the endpoints of now follow the policy of now; folded with rounds that are waiting. */
  refresh(): Promise<void> {
    if (!this.#queued) {
      this.#queued = true;
      this.#chain = this.#chain.then(() => {
        this.#queued = false;
        return this.#round([], []);
      });
    }
    return this.#chain;
  }

  ruleSetOf(identity: number, pod: string): RuleSet | undefined {
    const subject = this.#subjects.get(identity);
    return subject && this.#documents.get(ruleSetIdOf(subject, pod));
  }

  /** Resolves when there is a rule set for this identity, or after `timeoutMs`. */
  async waitForRuleSet(identity: number, pod: string, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.ruleSetOf(identity, pod) === undefined) {
      const left = deadline - performance.now();
      if (left <= 0 || this.#stopped) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left);
        const waiters = this.#waiters;
        function done(): void {
          clearTimeout(timer);
          waiters.delete(done);
          resolve();
        }
        waiters.add(done);
      });
    }
    return true;
  }

  #assign(identity: number, pod: string): Assignment | undefined {
    const ruleSet = this.ruleSetOf(identity, pod);
    const realized = ruleSet && this.#realized.get(ruleSet.id);
    return realized && { number: realized.number, ruleSetId: realized.ruleSet.id };
  }

  async #round(cidrs: readonly CidrIdentity[], removedCidrs: readonly string[]): Promise<void> {
    if (this.#stopped) return;
    for (const wake of [...this.#waiters]) wake();
    const at = this.#at;
    try {
      await this.#ports.cidrs(cidrs, []);
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
    this.#ports.endpoints.flip(
      (identity, pod) => this.#assign(identity, pod),
      this.#error === undefined ? at : undefined,
    );
    this.#ports.raiseEpoch();
    if (removedCidrs.length > 0) await this.#ports.cidrs([], removedCidrs);
    this.#settle(at);
  }

  #settle(at: PolicyRevision | undefined): void {
    this.#ports.persist(this.#snapshot());
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
    const used = this.#usedIds();
    const unused = [...this.#realized.values()].filter(({ ruleSet }) => !used.has(ruleSet.id));
    if (unused.length > 0 && this.#error === undefined) {
      this.#later(REMOVE_AFTER_MS, () => void this.#removeUnused(unused.map(({ number }) => number)));
    }
  }

  #usedIds(): Set<string> {
    const used = new Set<string>();
    for (const { identity, pod, ruleSetId } of this.#ports.endpoints.needed()) {
      const ruleSet = this.ruleSetOf(identity, pod);
      if (ruleSet) used.add(ruleSet.id);
      // The one in force stays until its successor is in the kernel.
      if (this.#realized.has(ruleSetId)) used.add(ruleSetId);
    }
    return used;
  }

  /** One new inner map for each rule set that local endpoints need and the kernel has not; one update of the outer map. */
  async #makeMaps(): Promise<void> {
    const made: { number: number; ruleSet: RuleSet; inner: BpfMap<PolicyKey, PolicyEntry> }[] = [];
    try {
      for (const id of this.#usedIds()) {
        const ruleSet = this.#documents.get(id);
        if (!ruleSet || this.#realized.has(id)) continue;
        if (ruleSet.entries.length > this.#ports.entriesMax) {
          throw new AppError(
            'policy-map-full',
            `a rule set needs ${ruleSet.entries.length} entries, bpf-policy-map-max is ${this.#ports.entriesMax}`,
          );
        }
        const inner = await this.#ports.map.createInner(ruleSet.entries.map(encodeEntry));
        made.push({ number: this.#next++, ruleSet, inner });
      }
      await this.#ports.map.put(made.map(({ number, inner }) => [number, inner]));
      for (const { number, ruleSet } of made) {
        this.#realized.set(ruleSet.id, { number, ruleSet });
        this.#byNumber.set(number, ruleSet);
      }
    } finally {
      for (const { inner } of made) inner.close();
    }
  }

  async #removeUnused(numbers: readonly number[]): Promise<void> {
    const used = this.#usedIds();
    const gone = numbers.filter((number) => {
      const ruleSet = this.#byNumber.get(number);
      return !ruleSet || !used.has(ruleSet.id);
    });
    for (const number of gone) {
      const ruleSet = this.#byNumber.get(number);
      if (ruleSet && this.#realized.get(ruleSet.id)?.number === number) this.#realized.delete(ruleSet.id);
    }
    try {
      await this.#ports.map.deleteMany(gone);
    } catch (error) {
      this.#ports.logger.warn({ error: errorMessage(error) }, 'cannot remove old rule sets');
    }
    this.#later(FORGET_AFTER_MS, () => gone.forEach((number) => this.#byNumber.delete(number)));
  }

  #later(ms: number, work: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #snapshot(): PersistedPolicy {
    return {
      at: this.#at,
      ruleSets: [...this.#realized.values()].map(({ number, ruleSet }) => ({ number, ruleSet })),
      subjects: [...this.#subjects.values()],
      cidrs: [...this.#cidrs.values()],
    };
  }

  /** The rule set of a number, also of one that was replaced within the last two minutes. */
  ruleSetByNumber(number: number): RuleSet | undefined {
    return this.#byNumber.get(number);
  }

  numberOf(ruleSetId: string): number | undefined {
    return this.#realized.get(ruleSetId)?.number;
  }

  /** What the policy map's entry stands for; undefined where the number is not known any more. */
  originOf(number: number, originId: number, direction: Direction): Decision | undefined {
    const ruleSet = this.#byNumber.get(number);
    if (!ruleSet) return undefined;
    const origin = originId > 0 ? ruleSet.origins[originId - 1] : undefined;
    if (origin) return { kind: 'origin', origin };
    return { kind: 'default-deny', isolatedBy: ruleSet.isolatedBy[direction] };
  }

  get cidrCount(): number {
    return this.#cidrs.size;
  }

  ruleSets(): readonly Realized[] {
    return [...this.#realized.values()];
  }

  cidrs(): readonly CidrIdentity[] {
    return [...this.#cidrs.values()];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const wake of [...this.#waiters]) wake();
    await this.#chain;
  }
}
