// SPDX-License-Identifier: Apache-2.0
import {
  IDENTITY_HOST,
  IDENTITY_KUBE_APISERVER,
  IDENTITY_REMOTE_NODE,
  IDENTITY_UNMANAGED,
} from '@cilium-ts/identity';
import type { EndpointSlice, Reflector } from '@cilium-ts/kube';
import { normalizeAddress } from '@cilium-ts/net';
import type { AddressRow, AgentTables, NodeRow } from '../rows.ts';
import type { Ipcache } from './ipcache.ts';

/** Addresses of a node that are the node itself. */
function nodeAddresses(node: NodeRow, gatewayOf: (cidr: string) => string | undefined): string[] {
  const gateways = node.podCidrs.map(gatewayOf).filter((gateway) => gateway !== undefined);
  return [...node.internalIps, ...gateways];
}

/** Who knows when the policy maps can judge an identity. */
export interface IdentityGate {
  whenKnown(identity: number, tell: () => void): () => void;
}

/** Feeds the ipcache from the tables and the API server's own endpoints; prunes once all have spoken. */
export function feedIpcache(
  ipcache: Ipcache,
  tables: AgentTables,
  slices: Reflector<EndpointSlice>,
  gatewayOf: (cidr: string) => string | undefined,
  gate: IdentityGate,
): void {
  const putNode = (node: NodeRow): void => {
    if (node.outside) return;
    const source = node.local ? 'host' : 'node';
    const identity = node.local ? IDENTITY_HOST : IDENTITY_REMOTE_NODE;
    for (const address of nodeAddresses(node, gatewayOf))
      ipcache.upsert(source, address, { identity, node: '' });
    // A pod that nobody has told of yet is not the world.
    for (const cidr of node.podCidrs)
      ipcache.upsert('pod-cidr', cidr, { identity: IDENTITY_UNMANAGED, node: '' });
  };
  const dropNode = (node: NodeRow): void => {
    for (const cidr of node.podCidrs) ipcache.remove('pod-cidr', cidr);
    for (const address of nodeAddresses(node, gatewayOf))
      ipcache.remove(node.local ? 'host' : 'node', address);
  };
  for (const node of tables.nodes.values()) putNode(node);
  tables.nodes.watch((changes) => {
    for (const { before, after } of changes) {
      if (before) dropNode(before);
      if (after) putNode(after);
    }
  });
  feedPods(ipcache, tables, gate);
  feedApiServer(ipcache, slices);
  void Promise.all([tables.nodes.whenSynced(), tables.addresses.whenSynced(), slices.synced]).then(() =>
    ipcache.prune(),
  );
}

/** Addresses of pods, each as soon as policy knows its identity. */
function feedPods(ipcache: Ipcache, tables: AgentTables, gate: IdentityGate): void {
  const held = new Map<string, () => void>();
  const put = (key: string, { identity, node }: AddressRow): void => {
    held.get(key)?.();
    held.set(
      key,
      gate.whenKnown(identity, () => ipcache.upsert('custom-resource', key, { identity, node })),
    );
  };
  const drop = (key: string): void => {
    held.get(key)?.();
    held.delete(key);
    ipcache.remove('custom-resource', key);
  };
  for (const row of tables.addresses.values()) put(row.address, row);
  tables.addresses.watch((changes) => {
    for (const { key, after } of changes) {
      if (after) put(key, after);
      else drop(key);
    }
  });
}

function feedApiServer(ipcache: Ipcache, slices: Reflector<EndpointSlice>): void {
  const isApiServer = (slice: EndpointSlice): boolean =>
    slice.metadata.namespace === 'default' &&
    slice.metadata.labels?.['kubernetes.io/service-name'] === 'kubernetes';
  const addresses = (slice: EndpointSlice): string[] =>
    isApiServer(slice) ? (slice.endpoints ?? []).flatMap((e) => e.addresses).map(normalizeAddress) : [];
  const drop = (slice: EndpointSlice): void => {
    for (const address of addresses(slice)) ipcache.remove('kube-apiserver', address);
  };
  const put = (slice: EndpointSlice): void => {
    for (const address of addresses(slice)) {
      ipcache.upsert('kube-apiserver', address, { identity: IDENTITY_KUBE_APISERVER, node: '' });
    }
  };
  slices.subscribe({
    onAdd: put,
    onUpdate: (old, slice) => {
      drop(old);
      put(slice);
    },
    onDelete: drop,
  });
}
