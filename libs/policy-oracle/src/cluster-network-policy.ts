// SPDX-License-Identifier: Apache-2.0
import { RANK, selectIdentities, union, type Entry, type PortRange } from './entry.ts';
import { CLUSTER, matches, requirements, requires, type LabelSelector, type Requirement } from './labels.ts';
import { namespaceRequirements } from './network-policy.ts';
import { cidrPeers } from './peers.ts';
import { allPorts, named, numbered, TRANSPORTS, type Transport } from './services.ts';
import type { Direction, PolicyObject, World } from './world.ts';

interface Pods {
  readonly namespaces?: LabelSelector;
  readonly pods?: { readonly namespaceSelector?: LabelSelector; readonly podSelector?: LabelSelector };
}

interface Peer extends Pods {
  readonly networks?: readonly string[];
}

interface DestinationPort {
  readonly destinationPort?: {
    readonly number?: number;
    readonly range?: { readonly start: number; readonly end: number };
  };
}

interface Protocol extends Partial<Record<'tcp' | 'udp' | 'sctp', DestinationPort>> {
  readonly destinationNamedPort?: string;
}

interface Rule {
  readonly action: 'Accept' | 'Deny' | 'Pass';
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly protocols?: readonly Protocol[];
}

interface Spec {
  readonly tier: 'Admin' | 'Baseline';
  readonly priority: number;
  readonly subject: Pods;
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
}

const VERDICT = { Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const;

/** Undefined for a peer of a kind nobody knows. */
function podRequirements({ namespaces, pods }: Pods): Requirement[] | undefined {
  if (namespaces) return namespaceRequirements(namespaces);
  if (!pods) return undefined;
  return [
    ...namespaceRequirements(pods.namespaceSelector ?? {}),
    ...requirements(pods.podSelector ?? {}, 'k8s'),
  ];
}

function peerIdentities(world: World, peer: Peer): Set<number> | undefined {
  if (peer.networks) return cidrPeers(world, peer.networks.map((cidr) => ({ cidr }))); // prettier-ignore
  const wanted = podRequirements(peer);
  return wanted && selectIdentities(world, [...wanted, requires('k8s', CLUSTER, world.cluster)]);
}

/** A peer of unknown kind accepts nobody, and turns a Deny or Pass into a deny of everybody. */
function judged(world: World, rule: Rule, peers: readonly Peer[]): Pick<Entry, 'peers' | 'verdict'> {
  const sets = peers.map((peer) => peerIdentities(world, peer));
  if (rule.action !== 'Accept' && sets.includes(undefined)) return { verdict: 'deny', peers: 'any' };
  return { verdict: VERDICT[rule.action], peers: union(sets.filter((set) => set !== undefined)) };
}

function portRanges(world: World, direction: Direction, protocol: Protocol): PortRange[] {
  const name = protocol.destinationNamedPort;
  if (name !== undefined) return TRANSPORTS.flatMap((each) => named(world, direction, each, name));
  return (['tcp', 'udp', 'sctp'] as const).flatMap((key) => {
    if (!protocol[key]) return [];
    const transport = key.toUpperCase() as Transport;
    const port = protocol[key].destinationPort;
    if (!port) return [allPorts(transport)];
    if (port.range) return [numbered(transport, port.range.start, port.range.end)];
    return [numbered(transport, port.number ?? 0)];
  });
}

/** The entries of a ClusterNetworkPolicy (policy.networking.k8s.io) for the subject of the world. */
export function clusterNetworkPolicyEntries(world: World, object: PolicyObject, audited: boolean): Entry[] {
  const spec = object.spec as Spec;
  const subject = podRequirements(spec.subject);
  if (world.subject.host || !subject || !matches(subject, world.subject.labels)) return [];
  return (['ingress', 'egress'] as const).flatMap((direction) =>
    (spec[direction] ?? []).map((rule, index): Entry => {
      const { verdict, peers } = judged(world, rule, (direction === 'ingress' ? rule.from : rule.to) ?? []);
      return {
        tier: spec.tier,
        priority: spec.priority * 1000 + index,
        direction,
        verdict,
        peers,
        services: rule.protocols?.length
          ? rule.protocols.flatMap((each) => portRanges(world, direction, each))
          : 'any',
        defaultDeny: false,
        rank: verdict === 'deny' ? RANK.deny : RANK.plain,
        audited,
        origin: {
          kind: object.kind,
          namespace: '',
          name: object.metadata.name,
          path: `${direction}[${index}]`,
        },
      };
    }),
  );
}
