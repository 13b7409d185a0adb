// SPDX-License-Identifier: Apache-2.0
import { PODS, STATEFUL_SETS, keyOf, type Pod, type StatefulSet } from '@cilium-ts/kube';
import { sameJson } from './canonical.ts';
import { createQueue, subjectOf, type Context, type Controller } from './context.ts';
import {
  availableIn,
  claim,
  createPods,
  deletePods,
  followPods,
  isPodFinished,
  isPodReady,
  podFromTemplate,
} from './pods.ts';
import { REVISION_LABEL, ensureRevision, hashOf, pruneRevisions, type Revisions } from './revisions.ts';

/** Keeps pods with stable names, made and removed in order. Volume claims are not supported. */
export function statefulSetController(context: Context): Controller {
  const queue = createQueue(context, 'statefulset', (key) => syncStatefulSet(context, key));
  return {
    start() {
      context.statefulSets.onChange((set) => queue.add(keyOf(set)));
      followPods(context, 'StatefulSet', context.statefulSets, (key) => queue.add(key));
    },
    stop: () => queue.stop(),
  };
}

function ordinalOf(set: StatefulSet, pod: Pod): number {
  const { name } = pod.metadata;
  const prefix = `${set.metadata.name}-`;
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^\d+$/.test(rest) ? Number(rest) : -1;
}

function statefulPod(set: StatefulSet, ordinal: number, revision: Revisions, hash: string): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const source = revision.all.find((candidate) => hashOf(candidate) === hash);
  const data = source?.data as { spec?: { template?: Record<string, unknown> } } | undefined;
  const { $patch: _patch, ...template } = data?.spec?.template ?? { ...set.spec!.template };
  const pod = podFromTemplate(
    STATEFUL_SETS,
    set,
    template as NonNullable<StatefulSet['spec']>['template'],
    name,
  );
  pod.metadata.labels = {
    ...pod.metadata.labels,
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(ordinal),
    [REVISION_LABEL]: hash,
  };
  pod.spec!.hostname = name;
  pod.spec!.subdomain = set.spec!.serviceName;
  return pod;
}

/** The revision label's value is the whole revision name for these pods. */
function labelOf(pod: Pod): string {
  return pod.metadata.labels?.[REVISION_LABEL] ?? '';
}

async function syncStatefulSet(context: Context, key: string): Promise<number | void> {
  const set = context.statefulSets.store.get(key);
  if (!set?.spec) return;
  await claim(context, context.pods, PODS, STATEFUL_SETS, set);
  if (set.metadata.deletionTimestamp !== undefined) return;
  if ((set.spec.volumeClaimTemplates?.length ?? 0) > 0) {
    const message =
      'volumeClaimTemplates are not supported by this cluster: use emptyDir or hostPath volumes';
    context.events.event(subjectOf(STATEFUL_SETS, set), 'Warning', 'FailedCreate', message);
    return;
  }
  const revisions = await ensureRevision(context, STATEFUL_SETS, set);
  const current = currentRevision(set, revisions);
  await step(context, set, revisions, current);
  const inUse = new Set(context.pods.ownedBy(set.metadata.uid).map(labelOf));
  await pruneRevisions(context, set, revisions, inUse.add(current));
  return writeStatus(context, set, revisions, current);
}

/** Hash that pods below the partition keep: the one before the update, as long as it is known. */
function currentRevision(set: StatefulSet, revisions: Revisions): string {
  const name = set.status?.currentRevision;
  const known = revisions.all.find((revision) => revision.metadata.name === name);
  return known ? hashOf(known) : revisions.hash;
}

/** One move: failed pods away, then missing ones made, then surplus removed, then old ones replaced. */
async function step(
  context: Context,
  set: StatefulSet,
  revisions: Revisions,
  current: string,
): Promise<void> {
  const spec = set.spec!;
  const start = spec.ordinals?.start ?? 0;
  const end = start + (spec.replicas ?? 1);
  const parallel = spec.podManagementPolicy === 'Parallel';
  const pods = new Map(context.pods.ownedBy(set.metadata.uid).map((pod) => [ordinalOf(set, pod), pod]));
  const now = Date.now();
  const healthy = (pod: Pod | undefined): boolean =>
    pod !== undefined &&
    pod.metadata.deletionTimestamp === undefined &&
    availableIn(pod, spec.minReadySeconds ?? 0, now) === 0;
  const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  const onDelete = spec.updateStrategy?.type === 'OnDelete';
  const making: Pod[] = [];
  for (let ordinal = start; ordinal < end; ordinal++) {
    const pod = pods.get(ordinal);
    if (pod && isPodFinished(pod) && pod.metadata.deletionTimestamp === undefined) {
      await deletePods(context, STATEFUL_SETS, set, [pod]);
      return;
    }
    if (!pod) {
      const hash = ordinal < partition ? current : revisions.hash;
      making.push(statefulPod(set, ordinal, revisions, hash));
    }
    if (!parallel && !healthy(pod)) break;
  }
  if (making.length > 0) {
    await createPods(context, STATEFUL_SETS, set, making);
    if (!parallel) return;
  }
  const wanted = [...pods].filter(([ordinal]) => ordinal >= start && ordinal < end);
  const allHealthy = wanted.length === end - start && wanted.every(([, pod]) => healthy(pod));
  const surplus = [...pods]
    .filter(([ordinal]) => ordinal < start || ordinal >= end)
    .sort((a, b) => b[0] - a[0]);
  if (surplus.length > 0) {
    const leaving = surplus
      .filter(([, pod]) => pod.metadata.deletionTimestamp === undefined)
      .map(([, pod]) => pod);
    if (parallel) await deletePods(context, STATEFUL_SETS, set, leaving);
    else if (leaving.length === surplus.length && wanted.every(([, pod]) => healthy(pod))) {
      await deletePods(context, STATEFUL_SETS, set, leaving.slice(0, 1));
    }
    if (!parallel) return;
  }
  if (onDelete) return;
  const upgradable = wanted.filter(([ordinal]) => ordinal >= partition).sort((a, b) => b[0] - a[0]);
  const next = nextToReplace(
    upgradable.map(([, pod]) => pod),
    revisions.hash,
    allHealthy,
    healthy,
  );
  if (next) await deletePods(context, STATEFUL_SETS, set, [next]);
}

/** From the highest ordinal down, one at a time; a pod that is broken and old is replaced without waiting for others. */
function nextToReplace(
  highestFirst: readonly Pod[],
  hash: string,
  allHealthy: boolean,
  healthy: (pod: Pod) => boolean,
): Pod | undefined {
  for (const pod of highestFirst) {
    if (labelOf(pod) === hash) {
      if (!healthy(pod)) return undefined;
      continue;
    }
    if (pod.metadata.deletionTimestamp !== undefined) return undefined;
    return allHealthy || !healthy(pod) ? pod : undefined;
  }
  return undefined;
}

async function writeStatus(
  context: Context,
  set: StatefulSet,
  revisions: Revisions,
  current: string,
): Promise<number | void> {
  const spec = set.spec!;
  const now = Date.now();
  const pods = context.pods
    .ownedBy(set.metadata.uid)
    .filter((pod) => ordinalOf(set, pod) >= 0 && !isPodFinished(pod));
  const staying = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const waits = staying.map((pod) => availableIn(pod, spec.minReadySeconds ?? 0, now));
  const replicas = spec.replicas ?? 1;
  const updated = staying.filter((pod) => labelOf(pod) === revisions.hash);
  const complete =
    updated.length === replicas && pods.length === replicas && updated.filter(isPodReady).length === replicas;
  const updateName = revisions.current.metadata.name;
  const currentHash = complete ? revisions.hash : current;
  const currentName =
    revisions.all.find((revision) => hashOf(revision) === currentHash)?.metadata.name ?? updateName;
  const status: NonNullable<StatefulSet['status']> = {
    observedGeneration: set.metadata.generation,
    replicas: pods.length,
    readyReplicas: staying.filter(isPodReady).length || undefined,
    availableReplicas: waits.filter((wait) => wait === 0).length,
    currentReplicas: staying.filter((pod) => labelOf(pod) === currentHash).length || undefined,
    updatedReplicas: updated.length || undefined,
    currentRevision: currentName,
    updateRevision: updateName,
    collisionCount: set.status?.collisionCount ?? 0,
  };
  if (!sameJson(status, set.status)) await context.client.replaceStatus(STATEFUL_SETS, { ...set, status });
  const later = waits.filter((wait): wait is number => wait !== undefined && wait > 0);
  return later.length > 0 ? Math.min(...later) + 10 : undefined;
}
