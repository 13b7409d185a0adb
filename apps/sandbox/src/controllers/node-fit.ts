// SPDX-License-Identifier: Apache-2.0
import type { Node, NodeSelectorTerm, PodSpec, Taint, Toleration } from '@cilium-ts/kube';

/** Label of machines that are no cluster nodes: only pods that name them run there. */
export const NO_SCHEDULE_LABEL = 'cilium.io/no-schedule';

export function isOutsideNode(node: Node): boolean {
  return node.metadata.labels?.[NO_SCHEDULE_LABEL] === 'true';
}

/** nodeSelector and the required part of node affinity. */
export function matchesNode(spec: PodSpec, node: Node): boolean {
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {})) {
    if (node.metadata.labels?.[key] !== value) return false;
  }
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** One term: all its requirements hold. A term without any matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every((one) => holds(one.operator, node.metadata.labels?.[one.key], one.values ?? [])) &&
    fields.every(
      (one) => one.key === 'metadata.name' && holds(one.operator, node.metadata.name, one.values ?? []),
    )
  );
}

function holds(operator: string, value: string | undefined, values: readonly string[]): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

export function tolerates(tolerations: readonly Toleration[] | undefined, taint: Taint): boolean {
  return (tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (toleration.key && toleration.key !== taint.key) return false;
    if (!toleration.key && toleration.operator !== 'Exists') return false;
    if (toleration.operator === 'Exists') return true;
    return (toleration.value ?? '') === (taint.value ?? '');
  });
}

/** The first taint that keeps a pod from being placed on the node. */
export function blockingTaint(spec: PodSpec, node: Node): Taint | undefined {
  const taints = [...(node.spec?.taints ?? [])];
  const cordoned = 'node.kubernetes.io/unschedulable';
  if (node.spec?.unschedulable && !taints.some((taint) => taint.key === cordoned)) {
    taints.push({ key: cordoned, effect: 'NoSchedule' });
  }
  return taints.find((taint) => taint.effect !== 'PreferNoSchedule' && !tolerates(spec.tolerations, taint));
}
