// SPDX-License-Identifier: Apache-2.0
import {
  DEPLOYMENTS,
  REPLICA_SETS,
  isAlreadyExists,
  keyOf,
  matchesSelector,
  type Deployment,
  type Pod,
  type PodTemplateSpec,
  type ReplicaSet,
} from '@cilium-ts/kube';
import { safeHash, sameJson } from './canonical.ts';
import { createQueue, ignoreMissing, subjectOf, type Context, type Controller } from './context.ts';
import { planProportional, planRolling, rollingBounds, type SetSize } from './deployment-sizes.ts';
import { deploymentStatus } from './deployment-status.ts';
import { claim, isPodFinished, ownerReference } from './pods.ts';
import { controllerOf } from './view.ts';

export const REVISION = 'deployment.kubernetes.io/revision';
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
const DESIRED = 'deployment.kubernetes.io/desired-replicas';
const MAXIMUM = 'deployment.kubernetes.io/max-replicas';
const HASH_LABEL = 'pod-template-hash';
/** Annotations of a deployment that its replica sets do not get. */
const NOT_COPIED = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION,
  REVISION_HISTORY,
  DESIRED,
  MAXIMUM,
]);

/** Rolls pod templates out through replica sets. */
export function deploymentController(context: Context): Controller {
  const queue = createQueue(context, 'deployment', (key) => syncDeployment(context, key), 8);
  return {
    start() {
      context.deployments.onChange((deployment) => queue.add(keyOf(deployment)));
      context.replicaSets.onChange((set) => {
        const owner = controllerOf(set);
        if (owner?.kind === 'Deployment') queue.add(`${set.metadata.namespace}/${owner.name}`);
        if (owner) return;
        for (const deployment of context.deployments.inNamespace(set.metadata.namespace)) {
          if (matchesSelector(deployment.spec?.selector, set.metadata.labels)) queue.add(keyOf(deployment));
        }
      });
      // Recreate waits for the last old pod to be really gone.
      context.pods.subscribe({ onDelete: (pod) => followDeletedPod(context, pod, (key) => queue.add(key)) });
    },
    stop: () => queue.stop(),
  };
}

function followDeletedPod(context: Context, pod: Pod, add: (key: string) => void): void {
  const owner = controllerOf(pod);
  if (owner?.kind !== 'ReplicaSet') return;
  const set = context.replicaSets.store.getByName(pod.metadata.namespace, owner.name);
  const deployment = set && controllerOf(set);
  if (deployment?.kind === 'Deployment') add(`${pod.metadata.namespace}/${deployment.name}`);
}

async function syncDeployment(context: Context, key: string): Promise<number | void> {
  const deployment = context.deployments.store.get(key);
  if (!deployment?.spec) return;
  if (Object.keys(deployment.spec.selector).length === 0) return;
  const sets = await claim(context, context.replicaSets, REPLICA_SETS, DEPLOYMENTS, deployment);
  sets.sort((a, b) => age(a) - age(b) || revisionOf(a) - revisionOf(b));
  if (deployment.metadata.deletionTimestamp === undefined) {
    const fresh = await ensureFreshSet(context, deployment, sets);
    const old = sets.filter((set) => set.metadata.uid !== fresh?.metadata.uid);
    await moveReplicas(context, deployment, fresh, old);
    if (fresh) await prune(context, deployment, old);
  }
  return writeStatus(context, deployment);
}

function age(set: ReplicaSet): number {
  return Date.parse(set.metadata.creationTimestamp ?? '') || 0;
}

function revisionOf(object: Deployment | ReplicaSet): number {
  return Number(object.metadata.annotations?.[REVISION] ?? 0) || 0;
}

export function findFreshSet(deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return sets.find((set) =>
    sameJson(plainTemplate(set.spec?.template), plainTemplate(deployment.spec?.template)),
  );
}

/** A template as the user wrote it. */
function plainTemplate(template: PodTemplateSpec | undefined): unknown {
  const { [HASH_LABEL]: _hash, ...labels } = template?.metadata?.labels ?? {};
  const { annotations } = template?.metadata ?? {};
  const hasAnnotations = annotations && Object.keys(annotations).length > 0;
  return { labels, annotations: hasAnnotations ? annotations : undefined, spec: template?.spec };
}

/** The set of the present template, made where missing (not while paused), with its revision written. */
async function ensureFreshSet(
  context: Context,
  deployment: Deployment,
  sets: readonly ReplicaSet[],
): Promise<ReplicaSet | undefined> {
  const found = findFreshSet(deployment, sets);
  const newest = Math.max(0, ...sets.filter((set) => set !== found).map(revisionOf));
  if (found) {
    const revision = Math.max(revisionOf(found), newest + 1);
    return annotate(context, deployment, found, revision);
  }
  if (deployment.spec!.paused) return undefined;
  return createSet(context, deployment, sets, newest + 1);
}

async function annotate(
  context: Context,
  deployment: Deployment,
  set: ReplicaSet,
  revision: number,
): Promise<ReplicaSet> {
  const old = set.metadata.annotations ?? {};
  const annotations: Record<string, string> = { ...old, ...copiedAnnotations(deployment) };
  annotations[REVISION] = String(revision);
  if (old[REVISION] !== undefined && old[REVISION] !== String(revision)) {
    const history = old[REVISION_HISTORY];
    annotations[REVISION_HISTORY] = history ? `${history},${old[REVISION]}` : old[REVISION];
  }
  Object.assign(annotations, sizeAnnotations(deployment));
  const minReadySeconds = deployment.spec!.minReadySeconds;
  let result = set;
  if (!sameJson(annotations, old) || (set.spec?.minReadySeconds ?? 0) !== (minReadySeconds ?? 0)) {
    const spec = { ...set.spec!, minReadySeconds };
    result = await context.client.update(REPLICA_SETS, {
      ...set,
      metadata: { ...set.metadata, annotations },
      spec,
    });
    await sawVersion(context, result);
  }
  await writeRevision(context, deployment, revision);
  return result;
}

async function writeRevision(context: Context, deployment: Deployment, revision: number): Promise<void> {
  if (deployment.metadata.annotations?.[REVISION] === String(revision)) return;
  const patch = { metadata: { annotations: { [REVISION]: String(revision) } } };
  await context.client.patch(DEPLOYMENTS, deployment.metadata, 'merge', patch);
}

async function createSet(
  context: Context,
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  revision: number,
): Promise<ReplicaSet> {
  const spec = deployment.spec!;
  const hash = safeHash(plainTemplate(spec.template), deployment.status?.collisionCount ?? 0);
  const labels = { ...spec.template.metadata?.labels, [HASH_LABEL]: hash };
  const replicas = initialReplicas(deployment, sets);
  const set = {
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      annotations: {
        ...copiedAnnotations(deployment),
        [REVISION]: String(revision),
        ...sizeAnnotations(deployment),
      },
      ownerReferences: [ownerReference(DEPLOYMENTS, deployment)],
    },
    spec: {
      replicas,
      minReadySeconds: spec.minReadySeconds,
      selector: {
        ...spec.selector,
        matchLabels: { ...spec.selector.matchLabels, [HASH_LABEL]: hash },
      },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  };
  try {
    const made = await context.client.create(REPLICA_SETS, set);
    await sawVersion(context, made);
    if (replicas > 0) scaledEvent(context, deployment, made.metadata.name, 0, replicas);
    await writeRevision(context, deployment, revision);
    return made;
  } catch (error) {
    if (isAlreadyExists(error)) await raiseCollisionCount(context, deployment, set.metadata.name);
    throw error;
  }
}

/** Another template has the same hash: the next name is salted with the count. */
async function raiseCollisionCount(context: Context, deployment: Deployment, name: string): Promise<void> {
  const { namespace, uid } = deployment.metadata;
  const other = await context.client.find(REPLICA_SETS, { namespace, name });
  if (!other || (controllerOf(other)?.uid === uid && findFreshSet(deployment, [other]))) return;
  const status = {
    ...deployment.status,
    collisionCount: (deployment.status?.collisionCount ?? 0) + 1,
  };
  await context.client.replaceStatus(DEPLOYMENTS, { ...deployment, status });
}

function initialReplicas(deployment: Deployment, sets: readonly ReplicaSet[]): number {
  const spec = deployment.spec!;
  const replicas = spec.replicas ?? 1;
  const existing = sets.reduce((sum, set) => sum + (set.spec?.replicas ?? 0), 0);
  if (existing === 0 && sets.every((set) => (set.status?.replicas ?? 0) === 0)) return replicas;
  if (spec.strategy?.type === 'Recreate') return 0;
  const { surge } = boundsOf(deployment);
  return Math.min(replicas, Math.max(0, replicas + surge - existing));
}

function boundsOf(deployment: Deployment): { surge: number; unavailable: number } {
  const rolling = deployment.spec!.strategy?.rollingUpdate;
  return rollingBounds(deployment.spec!.replicas ?? 1, rolling?.maxSurge, rolling?.maxUnavailable);
}

function copiedAnnotations(deployment: Deployment): Record<string, string> {
  const all = Object.entries(deployment.metadata.annotations ?? {});
  return Object.fromEntries(all.filter(([key]) => !NOT_COPIED.has(key)));
}

function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const replicas = deployment.spec!.replicas ?? 1;
  const surge = deployment.spec!.strategy?.type === 'Recreate' ? 0 : boundsOf(deployment).surge;
  return { [DESIRED]: String(replicas), [MAXIMUM]: String(replicas + surge) };
}

async function moveReplicas(
  context: Context,
  deployment: Deployment,
  fresh: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): Promise<void> {
  const replicas = deployment.spec!.replicas ?? 1;
  const sizes = planSizes(context, deployment, replicas, fresh, old);
  for (const set of fresh ? [fresh, ...old] : old) {
    const wanted = sizes.get(set.metadata.name);
    if (wanted !== undefined) await resize(context, deployment, set, wanted);
  }
}

function planSizes(
  context: Context,
  deployment: Deployment,
  replicas: number,
  fresh: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): ReadonlyMap<string, number> {
  const living = old.filter((set) => (set.spec?.replicas ?? 0) > 0).map(sizeOf);
  const spec = deployment.spec!;
  if (!fresh || spec.paused) {
    const sets = fresh ? [sizeOf(fresh), ...living] : living;
    const total = sets.reduce((sum, set) => sum + set.wanted, 0);
    if (sets.length === 1) return new Map([[sets[0]!.name, replicas]]);
    return total === replicas ? new Map() : planProportional(replicas, sets);
  }
  if (spec.strategy?.type === 'Recreate') {
    if (living.length > 0) return new Map(living.map((set) => [set.name, 0]));
    const remaining = old.some((set) =>
      context.pods.ownedBy(set.metadata.uid).some((pod) => !isPodFinished(pod)),
    );
    return remaining ? new Map() : new Map([[fresh.metadata.name, replicas]]);
  }
  if (living.length === 0) return new Map([[fresh.metadata.name, replicas]]);
  const plan = planRolling(replicas, boundsOf(deployment), sizeOf(fresh), living);
  return new Map([...plan.old, [fresh.metadata.name, plan.fresh]]);
}

function sizeOf(set: ReplicaSet): SetSize {
  return {
    name: set.metadata.name,
    wanted: set.spec?.replicas ?? 1,
    available: set.status?.availableReplicas ?? 0,
  };
}

async function resize(
  context: Context,
  deployment: Deployment,
  set: ReplicaSet,
  replicas: number,
): Promise<void> {
  const before = set.spec?.replicas ?? 1;
  if (before === replicas) return;
  const metadata = {
    resourceVersion: set.metadata.resourceVersion,
    annotations: sizeAnnotations(deployment),
  };
  const patched = await context.client.patch(REPLICA_SETS, set.metadata, 'merge', {
    metadata,
    spec: { replicas },
  });
  await sawVersion(context, patched);
  scaledEvent(context, deployment, set.metadata.name, before, replicas);
}

function scaledEvent(context: Context, deployment: Deployment, set: string, from: number, to: number): void {
  const message = `Scaled ${to > from ? 'up' : 'down'} replica set ${set} from ${from} to ${to}`;
  context.events.event(subjectOf(DEPLOYMENTS, deployment), 'Normal', 'ScalingReplicaSet', message);
}

function sawVersion(context: Context, set: ReplicaSet): Promise<void> {
  const key = keyOf(set);
  const wanted = Number(set.metadata.resourceVersion);
  return context.replicaSets.until(
    () => Number(context.replicaSets.store.get(key)?.metadata.resourceVersion ?? 0) >= wanted,
  );
}

/** Removes emptied sets beyond `revisionHistoryLimit`, oldest first. */
async function prune(context: Context, deployment: Deployment, old: readonly ReplicaSet[]): Promise<void> {
  const limit = deployment.spec!.revisionHistoryLimit ?? 10;
  const empty = old.filter(
    (set) =>
      set.spec?.replicas === 0 &&
      (set.status?.replicas ?? 0) === 0 &&
      set.metadata.deletionTimestamp === undefined,
  );
  empty.sort((a, b) => revisionOf(a) - revisionOf(b));
  for (const set of empty.slice(0, Math.max(0, empty.length - limit))) {
    await ignoreMissing(context.client.delete(REPLICA_SETS, set.metadata));
  }
}

async function writeStatus(context: Context, seen: Deployment): Promise<number | void> {
  const deployment = context.deployments.store.get(keyOf(seen)) ?? seen;
  const sets = context.replicaSets.ownedBy(deployment.metadata.uid);
  const fresh = findFreshSet(deployment, sets);
  const { status, recheckMs } = deploymentStatus({
    deployment,
    sets,
    fresh,
    bounds: boundsOf(deployment),
    observed: seen.metadata.generation,
  });
  if (!sameJson(status, deployment.status)) {
    await context.client.replaceStatus(DEPLOYMENTS, { ...deployment, status });
  }
  return recheckMs;
}
