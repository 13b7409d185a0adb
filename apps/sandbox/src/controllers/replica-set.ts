// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import { PODS, REPLICA_SETS, keyOf, matchesLabels, type Pod, type ReplicaSet } from '@cilium-ts/kube';
import { sameJson } from './canonical.ts';
import { createQueue, type Context, type Controller } from './context.ts';
import {
  availableIn,
  claim,
  createPods,
  deletePods,
  followPods,
  isPodActive,
  isPodReady,
  podFromTemplate,
} from './pods.ts';

/** Pods made or removed in one run. */
const BURST = 500;

/** Keeps `spec.replicas` pods of the template alive. */
export function replicaSetController(context: Context): Controller {
  const queue = createQueue(context, 'replicaset', (key) => syncReplicaSet(context, key), 8);
  return {
    start() {
      context.replicaSets.onChange((set) => queue.add(keyOf(set)));
      followPods(context, 'ReplicaSet', context.replicaSets, (key) => queue.add(key));
    },
    stop: () => queue.stop(),
  };
}

async function syncReplicaSet(context: Context, key: string): Promise<number | void> {
  const set = context.replicaSets.store.get(key);
  if (!set?.spec) return;
  const pods = await claim(context, context.pods, PODS, REPLICA_SETS, set);
  let failure: unknown;
  if (set.metadata.deletionTimestamp === undefined) {
    try {
      await scale(context, set, pods.filter(isPodActive));
    } catch (error) {
      failure = error;
    }
  }
  const now = context.pods.ownedBy(set.metadata.uid).filter(isPodActive);
  const recheck = await writeStatus(context, set, now, failure);
  if (failure !== undefined) throw failure;
  return recheck;
}

async function scale(context: Context, set: ReplicaSet, active: Pod[]): Promise<void> {
  const wanted = set.spec!.replicas ?? 1;
  if (active.length < wanted) {
    const count = Math.min(wanted - active.length, BURST);
    const template = set.spec!.template ?? {};
    const pods = Array.from({ length: count }, () => podFromTemplate(REPLICA_SETS, set, template));
    await createPods(context, REPLICA_SETS, set, pods);
  } else if (active.length > wanted) {
    const surplus = rankForDeletion(active).slice(0, Math.min(active.length - wanted, BURST));
    await deletePods(context, REPLICA_SETS, set, surplus);
  }
}

/** Least valuable first: without node, pending, not ready, crowded node, low deletion cost, restarted, young. */
export function rankForDeletion(pods: readonly Pod[]): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName ?? '';
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const rank = (pod: Pod): number[] => [
    pod.spec?.nodeName ? 1 : 0,
    pod.status?.phase === 'Running' ? 1 : 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0),
    -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
    -(pod.status?.containerStatuses ?? []).reduce((most, status) => Math.max(most, status.restartCount), 0),
    -Date.parse(pod.metadata.creationTimestamp ?? '') || 0,
  ];
  const ranked = pods.map((pod) => ({ pod, rank: rank(pod) }));
  ranked.sort((a, b) => {
    const at = a.rank.findIndex((value, i) => value !== b.rank[i]);
    return at < 0 ? 0 : a.rank[at]! - b.rank[at]!;
  });
  return ranked.map(({ pod }) => pod);
}

async function writeStatus(
  context: Context,
  set: ReplicaSet,
  pods: readonly Pod[],
  failure: unknown,
): Promise<number | void> {
  const now = Date.now();
  const minReady = set.spec!.minReadySeconds ?? 0;
  const waits = pods.map((pod) => availableIn(pod, minReady, now));
  const templateLabels = set.spec!.template?.metadata?.labels;
  const conditions = (set.status?.conditions ?? []).filter(({ type }) => type !== 'ReplicaFailure');
  if (failure !== undefined) {
    const old = set.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
    conditions.push({
      type: 'ReplicaFailure',
      status: 'True',
      reason: 'FailedCreate',
      message: errorMessage(failure),
      lastTransitionTime: old?.lastTransitionTime ?? new Date(now).toISOString(),
    });
  }
  const status: NonNullable<ReplicaSet['status']> = {
    replicas: pods.length,
    fullyLabeledReplicas: pods.filter((pod) => matchesLabels(templateLabels, pod.metadata.labels)).length,
    readyReplicas: pods.filter(isPodReady).length,
    availableReplicas: waits.filter((wait) => wait === 0).length,
    observedGeneration: set.metadata.generation,
    ...(conditions.length > 0 ? { conditions } : {}),
  };
  if (!sameJson(status, set.status)) await context.client.replaceStatus(REPLICA_SETS, { ...set, status });
  const later = waits.filter((wait): wait is number => wait !== undefined && wait > 0);
  return later.length > 0 ? Math.min(...later) + 10 : undefined;
}
