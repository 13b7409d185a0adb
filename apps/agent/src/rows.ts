// SPDX-License-Identifier: Apache-2.0
// Row types of the agent's tables: where its parts meet.
import { Table } from '@cilium-ts/tables';

export type EndpointState =
  | 'waiting-for-identity'
  | 'waiting-to-regenerate'
  | 'regenerating'
  | 'restoring'
  | 'ready'
  | 'disconnecting'
  | 'disconnected';

export interface NamedPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
}

export interface EndpointLogLine {
  readonly timestamp: string;
  readonly code: string;
  readonly state: EndpointState;
  readonly message: string;
}

/** A local pod. Immutable: every change is a new row. */
export interface EndpointRow {
  readonly id: number;
  readonly containerId: string;
  /** Inside the pod. */
  readonly interfaceName: string;
  readonly netns: string;
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  readonly hostDevice: string;
  readonly ifindex: number;
  readonly mac: string;
  readonly hostMac: string;
  /** Empty where the pod has none. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly identity: number;
  /** Security-relevant labels as text, sorted. */
  readonly labels: readonly string[];
  /** Node-local number in the policy map, 0 = none: everything is dropped. */
  readonly ruleSet: number;
  readonly ruleSetId: string;
  readonly policyRevision: number;
  readonly state: EndpointState;
  readonly namedPorts: readonly NamedPort[];
  readonly policyError: string | undefined;
  /** What policy would drop passes, with the verdict AUDIT. */
  readonly audit?: boolean;
  readonly log: readonly EndpointLogLine[];
  readonly createdAt: string;
}

/** What is known of an address in the cluster beyond its identity. */
export interface AddressRow {
  readonly address: string;
  readonly identity: number;
  /** Address of the node that hosts it; empty for nodes and the world. */
  readonly node: string;
  readonly namespace: string;
  readonly podName: string;
}

export interface IdentityRow {
  readonly id: number;
  readonly labels: readonly string[];
  /** Equal for equal label sets. */
  readonly key: string;
}

export interface NodeRow {
  readonly name: string;
  readonly internalIps: readonly string[];
  readonly podCidrs: readonly string[];
  readonly local: boolean;
  /** An outside host: identity world, no agent, no routes. */
  readonly outside: boolean;
}

export interface ServiceRow {
  readonly id: number;
  readonly address: string;
  readonly port: number;
  readonly protocol: number;
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly type: string;
  readonly backends: readonly {
    readonly id: number;
    readonly address: string;
    readonly port: number;
    readonly node: string;
    readonly state: 'active' | 'terminating';
  }[];
}

export interface AgentTables {
  readonly endpoints: Table<EndpointRow>;
  /** By address; pods of the whole cluster. */
  readonly addresses: Table<AddressRow>;
  readonly identities: Table<IdentityRow>;
  readonly nodes: Table<NodeRow>;
  /** By frontend text `10.96.0.1:443/TCP`. */
  readonly services: Table<ServiceRow>;
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

export function createTables(): AgentTables {
  return {
    endpoints: new Table<EndpointRow>({
      name: 'endpoints',
      indexes: {
        address: (row) => [row.ipv4, row.ipv6].filter((address) => address !== ''),
        pod: (row) => [`${row.namespace}/${row.podName}`],
        container: (row) => [row.containerId],
        identity: (row) => [String(row.identity)],
      },
    }),
    addresses: new Table<AddressRow>({ name: 'addresses', equal: sameJson }),
    identities: new Table<IdentityRow>({
      name: 'identities',
      indexes: { key: (row) => [row.key] },
      equal: (a, b) => a.key === b.key && a.id === b.id,
    }),
    nodes: new Table<NodeRow>({ name: 'nodes', equal: sameJson }),
    services: new Table<ServiceRow>({
      name: 'services',
      indexes: { id: (row) => [String(row.id)] },
      equal: sameJson,
    }),
  };
}
