// SPDX-License-Identifier: Apache-2.0
// The product of the compiler: what a node writes into the inner policy map of one rule set.

import type { LabelSelector } from './selector.ts';

export type Direction = 'ingress' | 'egress';

/** In the order of their say; a NetworkPolicy or Cilium policy is `normal`. */
export type Tier = 'admin' | 'normal' | 'baseline';

/**
 * `unenforced`: allowed only under a condition that nothing enforces yet (L7, names, authentication): dropped, with its own
 * reason. `audit`: only audited policies would drop it, so it passes and is told.
 */
export type Verdict = 'allow' | 'deny' | 'unenforced' | 'audit';

export type PolicyKind =
  'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy' | 'NetworkPolicy' | 'ClusterNetworkPolicy';

/** Where an entry comes from: an object, the path inside it, and the line that kubectl prints that path on. */
export interface Origin {
  readonly kind: PolicyKind;
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string;
  readonly name: string;
  /** Inside `spec`, for example `egress[0].toPorts[0]`; `specs[1].egress[0]` for objects with several specs. */
  readonly path: string;
  /** 1 is the first line below `spec:` (or `specs:`) in `kubectl get -o yaml`; 0 where unknown. */
  readonly line: number;
}

/** What a row of a rule set says; `pass` never reaches the map. */
export type RowVerdict = 'allow' | 'deny' | 'unenforced' | 'pass';

/** One row of a rule set: peers by selector, ports as a range. */
export interface RuleRow {
  readonly direction: Direction;
  readonly verdict: RowVerdict;
  /** 24 bits, 0 decides first; see level.ts. */
  readonly level: number;
  /** Between rows of one level the higher one wins: 255 deny, then redirects, 1 a plain allow. */
  readonly rank: number;
  /** Index + 1 into the rule set's selectors; 0 = every peer. */
  readonly selector: number;
  /** IP protocol number, 0 = any (then from is 0 and to 65535). */
  readonly protocol: number;
  /** Destination ports, inclusive; ICMP types for protocols 1 and 58. */
  readonly from: number;
  readonly to: number;
  /** Index + 1 into the rule set's origins; 0 = no object (the local host). */
  readonly origin: number;
  /** Comes from an audited policy. */
  readonly audited: boolean;
}

/** One row of the policy map: what a rule set becomes on a node, where identities are known. */
export interface RuleSetEntry {
  readonly direction: Direction;
  /** Remote identity, 0 = any. */
  readonly identity: number;
  /** IP protocol number, 0 = any (then port and portPrefix are 0). */
  readonly protocol: number;
  /** Destination port, or ICMP type for protocols 1 and 58; the low 16 - portPrefix bits are 0. */
  readonly port: number;
  /** How many leading bits of `port` must match: 0 (any port) to 16 (exactly this port). */
  readonly portPrefix: number;
  readonly verdict: Verdict;
  /** Unsigned 32-bit; the higher one wins between the exact-identity and the any-identity match. */
  readonly precedence: number;
  /** Index + 1 into the rule set's origins; 0 = no object (a direction that is not enforced, the local host). */
  readonly origin: number;
}

export interface PerDirection<T> {
  readonly ingress: T;
  readonly egress: T;
}

/** What the compiler publishes: rules over selectors, the same on every node, whatever identities there are. */
export interface RuleSet {
  /** Content hash: equal content gives equal ids, on every node and in every compiler. */
  readonly id: string;
  readonly enforced: PerDirection<boolean>;
  /** Without a matching row everything is dropped. */
  readonly defaultDeny: PerDirection<boolean>;
  readonly selectors: readonly LabelSelector[];
  readonly rows: readonly RuleRow[];
  readonly origins: readonly Origin[];
  /** The policies that put the subject into default deny: the origin of a drop without an entry. */
  readonly isolatedBy: PerDirection<readonly Origin[]>;
  /** The audited policies that would: the origin of what passes because of that. */
  readonly auditedBy: PerDirection<readonly Origin[]>;
}

/** Orders everything published: a higher epoch is a newer leader; the revision counts within and across epochs. */
export interface PolicyRevision {
  readonly epoch: number;
  readonly revision: number;
}

/** Which rule set the endpoints of an identity use. */
export interface Subject {
  readonly identity: number;
  /** Rule set id. */
  readonly ruleSet: string;
  /**
   * Rule set ids of pods (`namespace/name`) whose named ports differ from the other pods of the identity; for identity 1
   * (host firewall) of nodes, by name.
   */
  readonly pods?: Readonly<Record<string, string>>;
}

/** A CIDR prefix that policy names, and the identity that traffic from and to it has. */
export interface CidrIdentity {
  /** Canonical prefix text, `10.0.0.0/8`. */
  readonly prefix: string;
  readonly identity: number;
}

/**
 * A change of the published policy, to be applied as one: rule sets and CIDRs first, then subjects, then removals.
 * With `snapshot: true` it is the complete state: what it does not mention is gone.
 */
export interface PolicyPublication {
  readonly at: PolicyRevision;
  readonly snapshot: boolean;
  readonly ruleSets: readonly RuleSet[];
  readonly subjects: readonly Subject[];
  readonly removedSubjects: readonly number[];
  readonly cidrs: readonly CidrIdentity[];
  /** Prefixes no policy names any more. */
  readonly removedCidrs: readonly string[];
}

/** The rule set of an endpoint: the pod's own one where it has one, otherwise its identity's. */
export function ruleSetIdOf(subject: Subject, pod?: string): string {
  return (pod !== undefined && subject.pods?.[pod]) || subject.ruleSet;
}

/** `CNP production/allow-frontend-to-backend`, `CCNP deny-cross-namespace`, `KNP default/web`, `ClusterNetworkPolicy x`. */
export function formatOriginObject(origin: Pick<Origin, 'kind' | 'namespace' | 'name'>): string {
  const short = {
    CiliumNetworkPolicy: 'CNP',
    CiliumClusterwideNetworkPolicy: 'CCNP',
    NetworkPolicy: 'KNP',
    ClusterNetworkPolicy: 'ClusterNetworkPolicy',
  }[origin.kind];
  return `${short} ${origin.namespace === undefined ? '' : `${origin.namespace}/`}${origin.name}`;
}
