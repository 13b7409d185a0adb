// SPDX-License-Identifier: Apache-2.0
import { formatLabel, type Label } from './label.ts';

/** Numeric security identity; the high byte is its scope. */
export type NumericIdentity = number;

export const IDENTITY_UNKNOWN = 0;
export const IDENTITY_HOST = 1;
export const IDENTITY_WORLD = 2;
export const IDENTITY_UNMANAGED = 3;
export const IDENTITY_HEALTH = 4;
export const IDENTITY_INIT = 5;
export const IDENTITY_REMOTE_NODE = 6;
export const IDENTITY_KUBE_APISERVER = 7;
export const IDENTITY_INGRESS = 8;
export const IDENTITY_WORLD_IPV4 = 9;
export const IDENTITY_WORLD_IPV6 = 10;

export interface ReservedIdentity {
  readonly id: NumericIdentity;
  readonly name: string;
  readonly labels: readonly Label[];
}

function reserved(id: number, name: string, ...more: string[]): ReservedIdentity {
  const labels = [name, ...more].map((key) => ({ source: 'reserved', key, value: '' }));
  return { id, name, labels };
}

export const RESERVED_IDENTITIES: readonly ReservedIdentity[] = [
  reserved(IDENTITY_HOST, 'host'),
  reserved(IDENTITY_WORLD, 'world'),
  reserved(IDENTITY_UNMANAGED, 'unmanaged'),
  reserved(IDENTITY_HEALTH, 'health'),
  reserved(IDENTITY_INIT, 'init'),
  reserved(IDENTITY_REMOTE_NODE, 'remote-node'),
  reserved(IDENTITY_KUBE_APISERVER, 'kube-apiserver', 'remote-node'),
  reserved(IDENTITY_INGRESS, 'ingress'),
  reserved(IDENTITY_WORLD_IPV4, 'world-ipv4'),
  reserved(IDENTITY_WORLD_IPV6, 'world-ipv6'),
  reserved(11, 'overlay-encrypted'),
];

/** Numbers the operator may give out. */
export const CLUSTER_IDENTITY_MIN = 256;
export const CLUSTER_IDENTITY_MAX = 65535;
/** First identity of a CIDR prefix; the same on every node of the cluster. */
export const CIDR_IDENTITY_MIN = 0x0100_0001;
export const CIDR_IDENTITY_MAX = 0x01ff_ffff;

export type IdentityScope = 'reserved' | 'cluster' | 'cidr' | 'remote-node' | 'unknown';

export function identityScope(id: NumericIdentity): IdentityScope {
  if (id > 0 && id < CLUSTER_IDENTITY_MIN) return 'reserved';
  if (id >= CIDR_IDENTITY_MIN && id <= CIDR_IDENTITY_MAX) return 'cidr';
  if (id >>> 24 === 2) return 'remote-node';
  return id >= CLUSTER_IDENTITY_MIN && id <= 0x00ff_ffff ? 'cluster' : 'unknown';
}

const byId = new Map(RESERVED_IDENTITIES.map((identity) => [identity.id, identity]));

export function reservedIdentity(id: NumericIdentity): ReservedIdentity | undefined {
  return byId.get(id);
}

/** Labels of the identity of a CIDR prefix: the prefix (colons of IPv6 as dashes) and the world of its family. */
export function cidrLabels(prefix: string): Label[] {
  const world = prefix.includes(':') ? 'world-ipv6' : 'world-ipv4';
  return [
    { source: 'cidr', key: prefix.replaceAll(':', '-'), value: '' },
    { source: 'reserved', key: world, value: '' },
  ];
}

/** What listings show for an identity without a name: its labels joined, or the reserved name. */
export function identityName(id: NumericIdentity, labels: readonly Label[]): string {
  return byId.get(id)?.name ?? labels.map(formatLabel).sort().join(',');
}
