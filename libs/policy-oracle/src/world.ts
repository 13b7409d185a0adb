// SPDX-License-Identifier: Apache-2.0

/** Numbers of the IP header that policy can name ports or types for. */
export const PROTOCOLS = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;

export type Direction = 'ingress' | 'egress';

/** A policy object as the API server holds it. Assumed valid: the specification says what valid objects mean. */
export interface PolicyObject {
  readonly apiVersion?: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly specs?: readonly unknown[];
}

/** A container port with a name. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Absent or empty: the service has no selector and its backends count. */
  readonly selector?: Readonly<Record<string, string>>;
  readonly backends: readonly string[];
}

export interface CidrGroup {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cidrs: readonly string[];
}

/** The endpoint that is judged. */
export interface Subject {
  /** `source:key=value`; for the host the labels of its node. */
  readonly labels: readonly string[];
  readonly host: boolean;
  readonly namedPorts: readonly NamedPort[];
}

/** Everything but the rules that a verdict depends on. */
export interface World {
  readonly mode: 'default' | 'always' | 'never';
  /** Ingress from the local host is allowed unless denied. */
  readonly allowLocalhost: boolean;
  readonly hostFirewall: boolean;
  readonly cluster: string;
  /** Identity -> labels `source:key=value`; a CIDR identity carries `cidr:PREFIX` and a world label. */
  readonly identities: ReadonlyMap<number, readonly string[]>;
  readonly subject: Subject;
  /** Named ports of every pod, for egress. */
  readonly namedPorts: readonly NamedPort[];
  readonly services: readonly Service[];
  readonly cidrGroups: readonly CidrGroup[];
}

/** One packet's worth of question; `port` is the type for ICMP and ICMPv6. */
export interface Flow {
  readonly direction: Direction;
  readonly identity: number;
  readonly protocol: number;
  readonly port: number;
}

/** Where in which object an entry was written; an empty path stands for the object as a whole. */
export interface Origin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
}

export interface Judgement {
  /** `unenforced`: allowed only under a condition that is not enforced yet, therefore dropped. */
  readonly verdict: 'allow' | 'deny' | 'unenforced' | 'audit';
  /** The entries of the deciding level and rank; empty where a default decided. */
  readonly decidedBy: readonly Origin[];
  /** Every entry that matches the flow, whatever its tier. */
  readonly matching: readonly Origin[];
  /** True where no entry decided and the default was to drop. */
  readonly defaultDeny: boolean;
  /** The entries that switch the direction to default deny. */
  readonly isolatedBy: readonly Origin[];
}
