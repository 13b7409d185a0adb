// SPDX-License-Identifier: Apache-2.0
// What the parsers make of an object: checked, with implicit labels added, still in terms of selectors and names.
import type { L7Rules } from './l7-request.ts';
import type { Problem } from './problem.ts';
import type { Direction, Origin, PolicyKind, Tier } from './rule-set.ts';
import type { LabelSelector } from './selector.ts';

export interface PolicyName {
  readonly kind: PolicyKind;
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string;
  readonly name: string;
}

export type PeerSelector =
  | { readonly kind: 'labels'; readonly selector: LabelSelector }
  | { readonly kind: 'cidr'; readonly prefix: string; readonly except: readonly string[] }
  | {
      readonly kind: 'cidr-group';
      readonly name?: string;
      readonly selector?: LabelSelector;
      readonly except: readonly string[];
    }
  | {
      readonly kind: 'service';
      readonly namespace?: string;
      readonly name?: string;
      readonly selector?: LabelSelector;
    }
  /** Outside names (toFQDNs) and cloud groups: could be anywhere in the world, so nothing of it is allowed. */
  | { readonly kind: 'unknown-world' }
  /** Nodes by label: not told apart yet, so nothing of it is allowed. */
  | { readonly kind: 'unknown-nodes' };

/** `any`: every peer, wildcard in the map. A list that is empty selects no peer. */
export type Peers = 'any' | readonly PeerSelector[];

/** Why something is dropped as unenforced although a rule would allow it, and how it ranks against plain allows. */
export interface UnenforcedCondition {
  readonly reason: string;
  /** Below 255; above 1 it takes traffic away from plain allows of the same flow. */
  readonly rank: number;
  /** What must be equal in every rule for the same peers and ports of one subject, by what it is about. */
  readonly terms?: Readonly<Partial<Record<ConditionTerm, string>>>;
  /** The requests that it lets pass. */
  readonly l7?: L7Rules;
}

export type ConditionTerm = 'L7 rules' | 'TLS' | 'listener' | 'authentication';

export interface PortMatch {
  readonly origin: Origin;
  /** Protocol numbers; 0 = every protocol (then `from` is 0 and `to` 65535). */
  readonly protocols: readonly number[];
  readonly from: number;
  readonly to: number;
  /** A named port, to be resolved; from and to are then meaningless. */
  readonly name?: string;
  readonly unenforced?: UnenforcedCondition;
}

/** `pass` skips the rest of its tier. */
export type RuleAction = 'allow' | 'deny' | 'pass';

/** One item of ingress, ingressDeny, egress or egressDeny. */
export interface RuleItem {
  readonly direction: Direction;
  readonly action: RuleAction;
  readonly tier: Tier;
  /** Order inside the tier, lower first: 0 for all but ClusterNetworkPolicy (there priority x 1000 + rule index). */
  readonly priority: number;
  /** This item puts its subjects into default deny. */
  readonly defaultDeny: boolean;
  readonly peers: Peers;
  /** `any`: no ports named, every protocol. An empty list matches nothing. */
  readonly ports: 'any' | readonly PortMatch[];
  /** Of the item itself; port matches have their own. */
  readonly origin: Origin;
  readonly unenforced?: UnenforcedCondition;
}

export interface Rule {
  /** Whom the selector is about: endpoints by their identity's labels, or nodes (host firewall) by the Node's. */
  readonly on: 'endpoints' | 'nodes';
  readonly subject: LabelSelector;
  readonly items: readonly RuleItem[];
}

export interface ParsedPolicy {
  readonly id: PolicyName;
  readonly rules: readonly Rule[];
  /** Annotated `policy.cilium-ts.io/audit: "true"`: what it alone would drop passes and is told. */
  readonly audited: boolean;
  /** What the object asks for and nothing enforces yet, with its path. */
  readonly unenforced: readonly Problem[];
}

export function policyKey(id: PolicyName): string {
  return `${id.kind}/${id.namespace ?? ''}/${id.name}`;
}

export interface ParseOptions {
  readonly cluster: string;
  /** Policies with a nodeSelector are enforced; default false. */
  readonly hostFirewall?: boolean;
}

export const RANK_DENY = 255;
/** The local host's own allow: yields to denies only. */
export const RANK_HOST = 254;
export const RANK_ALLOW = 1;
/** Below everything of its level. */
export const RANK_PASS = 0;
/** Widens nothing and takes nothing away: only the reason of a drop. */
export const RANK_UNKNOWN_PEER = 0;
/** Ranks of L7 conditions, in the order in which redirects outrank each other: this minus a listener's own priority (1 to 100), or: */
export const RANK_REDIRECT = 254;
export const RANK_HTTP = 254 - 101;
export const RANK_KAFKA = 254 - 106;
export const RANK_L7PROTO = 254 - 111;
export const RANK_TLS = 254 - 116;
export const RANK_DNS = 254 - 121;
export const RANK_LISTENER = 254 - 126;
export const RANK_AUTHENTICATION = 2;
