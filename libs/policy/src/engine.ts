// SPDX-License-Identifier: Apache-2.0
import {
  CIDR_IDENTITY_MIN,
  IDENTITY_HEALTH,
  IDENTITY_HOST,
  IDENTITY_INIT,
  RESERVED_IDENTITIES,
  cidrLabels,
  identityScope,
  type Label,
} from '@cilium-ts/identity';
import { CidrNumbers } from './cidr-numbers.ts';
import { Expansion, type CidrGroupInput, type ServiceInput } from './expansion.ts';
import { NamedPorts, type PodPorts } from './named-ports.ts';
import { MapState } from './map-state.ts';
import {
  peerSelectors,
  resolveRuleSet,
  type EnforcementMode,
  type OwnedItem,
  type ResolveWorld,
} from './resolve.ts';
import { policyKey, type ParsedPolicy, type PolicyName, type Rule, type RuleItem } from './rule.ts';
import type { CidrIdentity, Direction, RuleSet, Subject } from './rule-set.ts';
import { indexLabels, matcherOf, type IndexedLabels, type Matcher } from './matcher.ts';
import type { LabelSelector } from './selector.ts';
import { SelectorCache } from './selector-cache.ts';
import { SharedRuleSets } from './shared-rule-sets.ts';

export interface EngineOptions {
  readonly cluster: string;
  /** Default `default`. */
  readonly mode?: EnforcementMode;
  /** Default true. */
  readonly allowLocalhost?: boolean;
  /** Default false: rules with a nodeSelector are read and not enforced. */
  readonly hostFirewall?: boolean;
}

/** What changed since the last compile; empty lists where nothing did. */
export interface EngineDelta {
  readonly ruleSets: readonly RuleSet[];
  readonly subjects: readonly Subject[];
  readonly removedSubjects: readonly number[];
  readonly cidrs: readonly CidrIdentity[];
  readonly removedCidrs: readonly string[];
}

export interface EngineState {
  readonly ruleSets: readonly RuleSet[];
  readonly subjects: readonly Subject[];
  readonly cidrs: readonly CidrIdentity[];
  /** The first CIDR number that was never given: a number must not come back with another meaning. */
  readonly nextCidr: number;
}

/** A rule, the policy it stands in, and whom it selects. */
export interface OwnedRule {
  readonly policy: ParsedPolicy;
  readonly rule: Rule;
  /** Kept up to date by the selector cache. */
  readonly endpoints?: ReadonlySet<number>;
  readonly onNode?: Matcher;
}

interface SubjectState {
  readonly subject: Subject;
  readonly usesNamedPorts: boolean;
}

const SPARE_SELECTORS = 1000;

/** Reserved identities that endpoints can have, and so need rule sets; the host's differ by node. */
const RESERVED_SUBJECTS: readonly number[] = [IDENTITY_HEALTH, IDENTITY_INIT];

/**
 * Holds everything policy depends on and compiles, for each identity that endpoints have, its rule set. Changes only
 * mark; `compile` resolves the subjects they touch. Equal results are one rule set.
 */
export class PolicyEngine {
  readonly #options: Required<EngineOptions>;
  readonly #policies = new Map<string, ParsedPolicy>();
  readonly #cache = new SelectorCache();
  readonly #ports = new NamedPorts();
  readonly #expansion: Expansion;
  readonly #subjects = new Map<number, SubjectState>();
  readonly #ruleSets = new SharedRuleSets();
  readonly #dirty = new Set<number>();
  readonly #removed = new Set<number>();
  readonly #nodes = new Map<string, IndexedLabels>();
  readonly #rules = new Map<string, readonly OwnedRule[]>();
  readonly #cidrs = new CidrNumbers();
  #cidrsStale = true;

  constructor(options: EngineOptions) {
    this.#options = { mode: 'default', allowLocalhost: true, hostFirewall: false, ...options };
    this.#expansion = new Expansion(options.cluster);
    for (const { id, labels } of RESERVED_IDENTITIES) this.#cache.update(id, labels);
    for (const id of RESERVED_SUBJECTS) this.#dirty.add(id);
  }

  get options(): Required<EngineOptions> {
    return this.#options;
  }

  get identities(): ReadonlyMap<number, readonly Label[]> {
    return this.#cache.identities();
  }

  /** How many selectors are kept up to date with identities. */
  get selectorCount(): number {
    return this.#cache.size;
  }

  policies(): IterableIterator<ParsedPolicy> {
    return this.#policies.values();
  }

  /**
   * Takes over the numbers that nodes know, so that no number changes its meaning. `next` is the first that was never given.
   */
  restoreCidrs(cidrs: readonly CidrIdentity[], next = CIDR_IDENTITY_MIN): void {
    this.#forgetCidrs(this.#cidrs.restore(cidrs, next));
    this.#cidrsStale = true;
  }

  upsertPolicy(policy: ParsedPolicy): void {
    const key = policyKey(policy.id);
    const old = this.#policies.get(key);
    if (old) this.#touchSubjectsOf(old);
    this.#policies.set(key, policy);
    this.#rules.set(
      key,
      policy.rules.map((rule) => this.#ownedRule(policy, rule)),
    );
    this.#touchSubjectsOf(policy);
    this.#cidrsStale = true;
  }

  deletePolicy(id: PolicyName): void {
    const old = this.#policies.get(policyKey(id));
    if (!old) return;
    this.#touchSubjectsOf(old);
    this.#policies.delete(policyKey(id));
    this.#rules.delete(policyKey(id));
    this.#cidrsStale = true;
  }

  /** Rule sets speak of selectors: a new identity is a new subject, and changes nobody else's. */
  upsertIdentity(id: number, labels: readonly Label[]): void {
    this.#removed.delete(id);
    this.#cache.update(id, labels);
    if (identityScope(id) === 'cluster') this.#dirty.add(id);
  }

  deleteIdentity(id: number): void {
    this.#cache.update(id, undefined);
    this.#dirty.delete(id);
    if (this.#subjects.has(id)) this.#removed.add(id);
  }

  /** A node that enforces policy on its own traffic; labels undefined: it is gone. */
  updateNode(name: string, labels: readonly Label[] | undefined): void {
    if (!this.#options.hostFirewall) return;
    if (labels) this.#nodes.set(name, indexLabels(labels));
    else this.#nodes.delete(name);
    this.#dirty.add(IDENTITY_HOST);
  }

  /** A pod's identity and named ports; `key` is `namespace/name`. */
  upsertPod(key: string, pod: PodPorts): void {
    this.#touchPorts(this.#ports.upsert(key, pod));
  }

  deletePod(key: string): void {
    this.#touchPorts(this.#ports.delete(key));
  }

  upsertService(service: ServiceInput): void {
    if (this.#expansion.upsertService(service)) this.#touchExpanding('service');
  }

  deleteService(namespace: string, name: string): void {
    if (this.#expansion.deleteService(namespace, name)) this.#touchExpanding('service');
  }

  upsertCidrGroup(group: CidrGroupInput): void {
    if (this.#expansion.upsertGroup(group)) this.#touchExpanding('cidr-group');
  }

  deleteCidrGroup(name: string): void {
    if (this.#expansion.deleteGroup(name)) this.#touchExpanding('cidr-group');
  }

  /** The rules that select an identity (or, for the host's, the node), for explain and listings. */
  rulesOf(identity: number, node?: string): OwnedRule[] {
    const found: OwnedRule[] = [];
    const labels = node === undefined ? undefined : this.#nodes.get(node);
    for (const owned of this.#rules.values()) {
      for (const one of owned) {
        const selected =
          identity === IDENTITY_HOST
            ? labels !== undefined && one.onNode?.(labels) === true
            : one.endpoints?.has(identity) === true;
        if (selected) found.push(one);
      }
    }
    return found;
  }

  #ownedRule(policy: ParsedPolicy, rule: Rule): OwnedRule {
    return rule.on === 'nodes'
      ? { policy, rule, onNode: matcherOf(rule.subject) }
      : { policy, rule, endpoints: this.#cache.select(rule.subject) };
  }

  subject(identity: number): Subject | undefined {
    return this.#subjects.get(identity)?.subject;
  }

  ruleSet(id: string): RuleSet | undefined {
    return this.#ruleSets.get(id);
  }

  /** Where the compile of one identity looks things up; also what explain needs. */
  world(identity: number, pod?: string): ResolveWorld {
    return this.#world(identity, pod, { namedPorts: false });
  }

  select(selector: LabelSelector): ReadonlySet<number> {
    return this.#cache.select(selector);
  }

  /** What a node that knows all identities makes of a rule set. */
  mapState(id: string): MapState | undefined {
    const ruleSet = this.ruleSet(id);
    return ruleSet && new MapState(ruleSet, (selector) => this.#cache.select(selector));
  }

  state(): EngineState {
    return {
      ruleSets: this.#ruleSets.list(),
      subjects: [...this.#subjects.values()].map(({ subject }) => subject),
      cidrs: this.#cidrs.list(),
      nextCidr: this.#cidrs.next,
    };
  }

  /** Brings every rule set up to date; returns undefined where nothing changed. */
  compile(): EngineDelta | undefined {
    const cidrs = this.#cidrsStale ? this.#updateCidrs() : { added: [], removed: [] };
    const ruleSets: RuleSet[] = [];
    const subjects: Subject[] = [];
    for (const identity of this.#dirty) {
      const before = this.#subjects.get(identity)?.subject;
      const next = this.#resolve(identity, ruleSets);
      if (before && JSON.stringify(before) === JSON.stringify(next)) continue;
      subjects.push(next);
    }
    this.#dirty.clear();
    this.#forgetSelectors();
    const removedSubjects = [...this.#removed];
    for (const identity of removedSubjects) {
      this.#ruleSets.release(this.#subjects.get(identity)?.subject);
      this.#subjects.delete(identity);
    }
    this.#removed.clear();
    const changes =
      ruleSets.length + subjects.length + removedSubjects.length + cidrs.added.length + cidrs.removed.length;
    if (changes === 0) return undefined;
    const removedCidrs = cidrs.removed.map(({ prefix }) => prefix);
    return { ruleSets, subjects, removedSubjects, cidrs: cidrs.added, removedCidrs };
  }

  /** Selectors of policies that are gone cost time with every identity; now and then only those in use are kept. */
  #forgetSelectors(): void {
    const rules = [...this.#rules.values()].flat();
    if (this.#cache.size <= 2 * rules.length + SPARE_SELECTORS) return;
    const subjects = rules.filter(({ rule }) => rule.on === 'endpoints').map(({ rule }) => rule.subject);
    this.#cache.retain(new Set(subjects.map((subject) => this.#cache.key(subject))));
  }

  #resolve(identity: number, fresh: RuleSet[]): Subject {
    const noted = { namedPorts: false };
    const compile = (pod: string | undefined): string => {
      const items = ownedItems(this.rulesOf(identity, pod));
      const ruleSet = resolveRuleSet(identity, items, this.#world(identity, pod, noted));
      if (this.#ruleSets.add(ruleSet)) fresh.push(ruleSet);
      return ruleSet.id;
    };
    const common = compile(undefined);
    const special = this.#special(identity, noted.namedPorts);
    const pods: Record<string, string> = {};
    for (const pod of special) {
      const own = compile(pod);
      if (own !== common) pods[pod] = own;
    }
    const subject: Subject =
      Object.keys(pods).length === 0 ? { identity, ruleSet: common } : { identity, ruleSet: common, pods };
    this.#ruleSets.use(subject);
    this.#ruleSets.release(this.#subjects.get(identity)?.subject);
    this.#subjects.set(identity, { subject, usesNamedPorts: noted.namedPorts });
    return subject;
  }

  /** Pods, or for the host nodes, whose rule set may differ from that of the others with their identity. */
  #special(identity: number, usesNamedPorts: boolean): string[] {
    if (identity === IDENTITY_HOST) return [...this.#nodes.keys()].sort();
    return usesNamedPorts ? this.#ports.divergingPods(identity) : [];
  }

  #world(identity: number, pod: string | undefined, noted: { namedPorts: boolean }): ResolveWorld {
    return {
      mode: this.#options.mode,
      allowLocalhost: this.#options.allowLocalhost,
      expand: (peer) => this.#expansion.expand(peer),
      namedPorts: (direction: Direction, name, protocol) => {
        noted.namedPorts = true;
        return direction === 'ingress'
          ? this.#ports.ofIdentity(identity, name, protocol, pod)
          : this.#ports.ofAll(name, protocol);
      },
    };
  }

  #touchSubjectsOf(policy: ParsedPolicy): void {
    for (const { on, subject } of policy.rules) {
      if (on === 'nodes') {
        if (this.#options.hostFirewall) this.#dirty.add(IDENTITY_HOST);
      } else for (const id of this.#cache.select(subject)) if (this.#isSubject(id)) this.#dirty.add(id);
    }
  }

  #isSubject(id: number): boolean {
    return identityScope(id) === 'cluster' || RESERVED_SUBJECTS.includes(id);
  }

  #touchPorts(changed: boolean): void {
    if (!changed) return;
    for (const [id, { usesNamedPorts }] of this.#subjects) if (usesNamedPorts) this.#dirty.add(id);
  }

  #touchExpanding(kind: 'service' | 'cidr-group'): void {
    for (const policy of this.#policies.values()) {
      if (
        !policyItems(policy).some(
          (item) => item.peers !== 'any' && item.peers.some((peer) => peer.kind === kind),
        )
      )
        continue;
      this.#touchSubjectsOf(policy);
      this.#cidrsStale = true;
    }
  }

  /** Gives every prefix that policy names an identity, and takes it from those no longer named. */
  #updateCidrs(): { added: readonly CidrIdentity[]; removed: readonly CidrIdentity[] } {
    this.#cidrsStale = false;
    const wanted = new Set<string>();
    for (const policy of this.#policies.values()) {
      for (const item of policyItems(policy)) {
        if (item.peers === 'any') continue;
        for (const peer of item.peers.flatMap((p) => this.#expansion.expand(p))) {
          if (peer.kind === 'cidr') for (const prefix of [peer.prefix, ...peer.except]) wanted.add(prefix);
        }
      }
    }
    const { added, removed } = this.#cidrs.follow(wanted);
    this.#forgetCidrs(removed);
    for (const { prefix, identity } of added)
      if (identity >= CIDR_IDENTITY_MIN) this.#cache.update(identity, cidrLabels(prefix));
    return { added, removed };
  }

  #forgetCidrs(cidrs: readonly CidrIdentity[]): void {
    for (const { identity } of cidrs)
      if (identity >= CIDR_IDENTITY_MIN) this.#cache.update(identity, undefined);
  }
}

function ownedItems(found: readonly { policy: ParsedPolicy; rule: Rule }[]): OwnedItem[] {
  return found.flatMap(({ policy: { audited }, rule }) => rule.items.map((item) => ({ item, audited })));
}

function policyItems(policy: ParsedPolicy): RuleItem[] {
  return policy.rules.flatMap((rule) => rule.items);
}

/** Selectors of an item's peers, for listings. */
export function itemSelectors(
  item: RuleItem,
  expand: ResolveWorld['expand'],
): ReturnType<typeof peerSelectors> {
  return item.peers === 'any' ? [] : item.peers.flatMap((peer) => peerSelectors(peer, expand));
}
