// SPDX-License-Identifier: Apache-2.0
import { RANK, selectIdentities, union, type Entry, type PortRange } from './entry.ts';
import { CLUSTER, matches, NAMESPACE, NAMESPACE_LABELS, requirements, requires } from './labels.ts';
import type { LabelSelector, Requirement } from './labels.ts';
import { cidrPeers } from './peers.ts';
import { allPorts, named, numbered, type Transport } from './services.ts';
import type { Direction, PolicyObject, World } from './world.ts';

interface Peer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Port {
  readonly protocol?: Transport;
  readonly port?: number | string;
  readonly endPort?: number;
}

interface Item {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly Port[];
}

interface Spec {
  readonly podSelector?: LabelSelector;
  readonly policyTypes?: readonly string[];
  readonly ingress?: readonly Item[];
  readonly egress?: readonly Item[];
}

/** A selector over namespaces, said in labels of their pods. */
export function namespaceRequirements(selector: LabelSelector): Requirement[] {
  const wanted = requirements(selector, 'k8s');
  if (wanted.length === 0) return [requires('k8s', NAMESPACE)];
  return wanted.map((each) => ({ ...each, key: NAMESPACE_LABELS + each.key }));
}

function peerIdentities(world: World, namespace: string, peer: Peer): Set<number> {
  if (peer.ipBlock) return cidrPeers(world, [peer.ipBlock]);
  return selectIdentities(world, [
    ...requirements(peer.podSelector ?? {}, 'k8s'),
    ...(peer.namespaceSelector
      ? namespaceRequirements(peer.namespaceSelector)
      : [requires('k8s', NAMESPACE, namespace)]),
    requires('k8s', CLUSTER, world.cluster),
  ]);
}

function portRanges(world: World, direction: Direction, port: Port): PortRange[] {
  const protocol = port.protocol ?? 'TCP';
  if (port.port === undefined) return [allPorts(protocol)];
  if (typeof port.port === 'string') return named(world, direction, protocol, port.port);
  return [numbered(protocol, port.port, port.endPort)];
}

/** The entries of a Kubernetes NetworkPolicy for the subject of the world. */
export function networkPolicyEntries(world: World, object: PolicyObject, audited: boolean): Entry[] {
  const spec = (object.spec ?? {}) as Spec;
  const { namespace = 'default', name } = object.metadata;
  const subject = [...requirements(spec.podSelector ?? {}, 'k8s'), requires('k8s', NAMESPACE, namespace)];
  if (world.subject.host || !matches(subject, world.subject.labels)) return [];

  const types = spec.policyTypes ?? [];
  const directions: Direction[] = [];
  if (types.includes('Ingress') || !types.includes('Egress')) directions.push('ingress');
  if (types.includes('Egress') || spec.egress?.length) directions.push('egress');

  return directions.flatMap((direction) => {
    const entry = (path: string, peers: Entry['peers'], services: Entry['services']): Entry => ({
      tier: 'Normal',
      priority: 0,
      direction,
      verdict: 'allow',
      peers,
      services,
      defaultDeny: true,
      rank: RANK.plain,
      audited,
      origin: { kind: object.kind, namespace, name, path },
    });
    const items = spec[direction] ?? [];
    if (items.length === 0) return [entry('', new Set(), 'any')];
    return items.map((item, index) => {
      const written = (direction === 'ingress' ? item.from : item.to) ?? [];
      const ports = item.ports ?? [];
      return entry(
        `${direction}[${index}]`,
        written.length ? union(written.map((peer) => peerIdentities(world, namespace, peer))) : 'any',
        ports.length ? ports.flatMap((port) => portRanges(world, direction, port)) : 'any',
      );
    });
  });
}
