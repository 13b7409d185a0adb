// SPDX-License-Identifier: Apache-2.0
import { matchesSelector, type Namespace, type Node, type Pod, type PodSpec } from '@cilium-ts/kube';
import { blockingTaint, isOutsideNode, matchesNode, matchesTerm } from './node-fit.ts';
import { controllerOf } from './view.ts';

/** A node with the pods on it, those on their way included. */
export interface Candidate {
  readonly node: Node;
  readonly pods: readonly Pod[];
}

type AffinityTerm = NonNullable<
  NonNullable<
    NonNullable<PodSpec['affinity']>['podAffinity']
  >['requiredDuringSchedulingIgnoredDuringExecution']
>[number];

export interface ClusterState {
  readonly candidates: readonly Candidate[];
  readonly namespaceLabels: (name: string) => Namespace['metadata']['labels'];
}

const DEFAULT_MAX_PODS = 110;

/** Why a pod may not go to a node, in kube-scheduler's words; undefined where it may. */
export function rejection(pod: Pod, candidate: Candidate, state: ClusterState): string | undefined {
  const spec = pod.spec!;
  const { node } = candidate;
  if (isOutsideNode(node) && !mayLeaveCluster(spec)) {
    return "node(s) didn't match Pod's node affinity/selector";
  }
  const taint = blockingTaint(spec, node);
  if (taint?.key === 'node.kubernetes.io/unschedulable') return 'node(s) were unschedulable';
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesNode(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  if (portConflict(spec, candidate.pods)) return "node(s) didn't have free ports for the requested pod ports";
  if (!affinityHolds(pod, candidate, state)) return "node(s) didn't match pod affinity rules";
  if (antiAffinityBroken(pod, candidate, state)) return "node(s) didn't match pod anti-affinity rules";
  if (existingAntiAffinityBroken(pod, candidate, state)) {
    return "node(s) didn't satisfy existing pods anti-affinity rules";
  }
  const limit = Number(node.status?.allocatable?.['pods'] ?? DEFAULT_MAX_PODS);
  return candidate.pods.length >= limit ? 'Too many pods' : undefined;
}

/** Machines outside the cluster take only host-network pods that ask for them. */
function mayLeaveCluster(spec: PodSpec): boolean {
  return spec.hostNetwork === true && Object.keys(spec.nodeSelector ?? {}).length > 0;
}

interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

function hostPorts(spec: PodSpec): HostPort[] {
  const found: HostPort[] = [];
  for (const container of spec.containers ?? []) {
    for (const { hostPort, hostIP, protocol, containerPort } of container.ports ?? []) {
      const port = hostPort ?? (spec.hostNetwork ? containerPort : undefined);
      if (port) found.push({ ip: hostIP || '0.0.0.0', protocol: protocol ?? 'TCP', port });
    }
  }
  return found;
}

function portConflict(spec: PodSpec, others: readonly Pod[]): boolean {
  const wanted = hostPorts(spec);
  if (wanted.length === 0) return false;
  return others.some((other) =>
    hostPorts(other.spec!).some((taken) =>
      wanted.some(
        (port) =>
          port.port === taken.port &&
          port.protocol === taken.protocol &&
          (port.ip === taken.ip || port.ip === '0.0.0.0' || taken.ip === '0.0.0.0'),
      ),
    ),
  );
}

/** The pods that share the candidate's value of a topology key. */
function podsInDomain(key: string, candidate: Candidate, state: ClusterState): readonly Pod[] | undefined {
  const value = domainOf(candidate.node, key);
  if (value === undefined) return undefined;
  if (key === 'kubernetes.io/hostname') return candidate.pods;
  return state.candidates.filter(({ node }) => domainOf(node, key) === value).flatMap(({ pods }) => pods);
}

function domainOf(node: Node, key: string): string | undefined {
  return node.metadata.labels?.[key] ?? (key === 'kubernetes.io/hostname' ? node.metadata.name : undefined);
}

function termMatches(term: AffinityTerm, owner: Pod, other: Pod, state: ClusterState): boolean {
  const namespace = other.metadata.namespace ?? '';
  const named = term.namespaces ?? [];
  const bySelector =
    term.namespaceSelector !== undefined &&
    matchesSelector(term.namespaceSelector, state.namespaceLabels(namespace));
  const implied =
    named.length === 0 && term.namespaceSelector === undefined && namespace === owner.metadata.namespace;
  if (!implied && !bySelector && !named.includes(namespace)) return false;
  return matchesSelector(term.labelSelector, other.metadata.labels);
}

function affinityHolds(pod: Pod, candidate: Candidate, state: ClusterState): boolean {
  const terms = pod.spec!.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.every((term) => {
    const pods = podsInDomain(term.topologyKey, candidate, state);
    if (!pods) return false;
    if (pods.some((other) => termMatches(term, pod, other, state))) return true;
    // The first pod of a group that wants to be near itself may start anywhere.
    const nowhere = !state.candidates.some(({ pods: all }) =>
      all.some((other) => termMatches(term, pod, other, state)),
    );
    return nowhere && termMatches(term, pod, pod, state);
  });
}

function antiAffinityBroken(pod: Pod, candidate: Candidate, state: ClusterState): boolean {
  const terms = pod.spec!.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.some((term) =>
    podsInDomain(term.topologyKey, candidate, state)?.some((other) => termMatches(term, pod, other, state)),
  );
}

function existingAntiAffinityBroken(pod: Pod, candidate: Candidate, state: ClusterState): boolean {
  return state.candidates.some(({ node, pods }) =>
    pods.some((other) =>
      (other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).some(
        (term) => {
          const here = domainOf(candidate.node, term.topologyKey);
          return (
            here !== undefined &&
            here === domainOf(node, term.topologyKey) &&
            termMatches(term, other, pod, state)
          );
        },
      ),
    ),
  );
}

/** Higher is better: preferences first, then few pods of the same owner, then few pods. */
export function score(pod: Pod, candidate: Candidate, state: ClusterState): number {
  const spec = pod.spec!;
  let points = 0;
  const { nodeAffinity, podAffinity, podAntiAffinity } = spec.affinity ?? {};
  for (const { weight, preference } of nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (matchesTerm(preference, candidate.node)) points += weight;
  }
  const near = (term: AffinityTerm): number =>
    (podsInDomain(term.topologyKey, candidate, state) ?? []).filter((other) =>
      termMatches(term, pod, other, state),
    ).length;
  for (const { weight, podAffinityTerm } of podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ??
    []) {
    points += weight * near(podAffinityTerm);
  }
  for (const {
    weight,
    podAffinityTerm,
  } of podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    points -= weight * near(podAffinityTerm);
  }
  const avoided = (candidate.node.spec?.taints ?? []).some(({ effect }) => effect === 'PreferNoSchedule');
  const owner = controllerOf(pod)?.uid;
  const siblings = owner ? candidate.pods.filter((other) => controllerOf(other)?.uid === owner).length : 0;
  return points * 1_000_000 - (avoided ? 500_000 : 0) - siblings * 1000 - candidate.pods.length;
}

/** `0/3 nodes are available: 1 ..., 2 ....` */
export function unschedulableMessage(reasons: readonly string[]): string {
  if (reasons.length === 0) return 'no nodes available to schedule pods';
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  const total = reasons.length;
  return (
    `0/${total} nodes are available: ${parts.join(', ')}. preemption: 0/${total} nodes are available: ` +
    `${total} Preemption is not helpful for scheduling.`
  );
}
