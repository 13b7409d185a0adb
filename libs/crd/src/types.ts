// SPDX-License-Identifier: Apache-2.0

/** The part of Kubernetes object metadata that we read. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

/** CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy; the rules are what the user wrote, not yet checked. */
export interface CiliumPolicyObject {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy';
  metadata: ObjectMeta;
  spec?: unknown;
  specs?: unknown[];
  status?: { conditions?: Condition[] };
}

export interface CiliumIdentity {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumIdentity';
  metadata: ObjectMeta;
  'security-labels': Record<string, string>;
}

export interface NamedPort {
  name: string;
  port: number;
  /** `TCP`, `UDP` or `SCTP`. */
  protocol: string;
}

export interface CiliumEndpoint {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumEndpoint';
  metadata: ObjectMeta;
  status?: {
    id?: number;
    state?: string;
    identity?: { id: number; labels?: string[] };
    networking?: { addressing: { ipv4?: string; ipv6?: string }[]; node?: string };
    policy?: Record<'ingress' | 'egress', { enforcing: boolean; state: string }>;
    'named-ports'?: NamedPort[];
    'external-identifiers'?: Record<string, string>;
    encryption?: { key?: number };
    'service-account'?: string;
  };
}

export interface CiliumNode {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumNode';
  metadata: ObjectMeta;
  spec: {
    addresses?: { type: string; ip: string }[];
    bootid?: string;
    ipam?: { podCIDRs?: string[] };
    health?: { ipv4?: string; ipv6?: string };
    encryption?: { key?: number };
  };
}

export interface CiliumCIDRGroup {
  apiVersion: 'cilium.io/v2' | 'cilium.io/v2alpha1';
  kind: 'CiliumCIDRGroup';
  metadata: ObjectMeta;
  spec: { externalCIDRs: string[] };
}
