// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import {
  PODS,
  apiVersionOf,
  keyOf,
  matchesSelector,
  type KubeObject,
  type LabelSelector,
  type OwnerReference,
  type Pod,
  type PodTemplateSpec,
  type ResourceRef,
} from '@cilium-ts/kube';
import { forEachLimited, ignoreMissing, subjectOf, type Context } from './context.ts';
import { controllerOf, type View } from './view.ts';

/** Parallel requests of one controller run. */
const PARALLEL = 16;

export function isPodReady(pod: Pod): boolean {
  return readyCondition(pod)?.status === 'True';
}

function readyCondition(pod: Pod): { status: string; lastTransitionTime?: string | undefined } | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === 'Ready');
}

/** Milliseconds until the pod counts as available (0: it does now); undefined while it is not ready. */
export function availableIn(pod: Pod, minReadySeconds: number, now: number): number | undefined {
  const condition = readyCondition(pod);
  if (condition?.status !== 'True') return undefined;
  if (minReadySeconds <= 0) return 0;
  const since = Date.parse(condition.lastTransitionTime ?? '');
  return Number.isNaN(since) ? 0 : Math.max(0, since + minReadySeconds * 1000 - now);
}

export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Counts towards the wanted number. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && pod.metadata.deletionTimestamp === undefined;
}

export function ownerReference(ref: ResourceRef, owner: KubeObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(ref),
    kind: ref.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** A pod of the template, owned by `owner`; `name` for pods with stable names. */
export function podFromTemplate(
  ref: ResourceRef,
  owner: KubeObject,
  template: PodTemplateSpec,
  name?: string,
): Pod {
  const { namespace } = owner.metadata;
  return {
    metadata: {
      ...(name === undefined ? { generateName: `${owner.metadata.name.slice(0, 57)}-` } : { name }),
      namespace,
      labels: { ...template.metadata?.labels },
      annotations: { ...template.metadata?.annotations },
      finalizers: template.metadata?.finalizers,
      ownerReferences: [ownerReference(ref, owner)],
    } as Pod['metadata'],
    spec: structuredClone(template.spec),
  };
}

/** Creates pods and returns when the mirror shows them. @throws KubeError of the first failure, after an event about it */
export async function createPods(
  context: Context,
  ref: ResourceRef,
  owner: KubeObject,
  pods: readonly Pod[],
): Promise<void> {
  const subject = subjectOf(ref, owner);
  const created: Pod[] = [];
  try {
    await forEachLimited(pods, PARALLEL, async (pod) => {
      const made = await context.client.create(PODS, pod);
      created.push(made);
      context.events.event(subject, 'Normal', 'SuccessfulCreate', `Created pod: ${made.metadata.name}`);
    });
  } catch (error) {
    context.events.event(subject, 'Warning', 'FailedCreate', `Error creating: ${errorMessage(error)}`);
    throw error;
  } finally {
    await seen(context, created);
  }
}

async function seen(context: Context, pods: readonly Pod[]): Promise<void> {
  const missing = new Set(pods);
  await context.pods.until(() => {
    for (const pod of missing) if (context.pods.store.get(keyOf(pod))) missing.delete(pod);
    return missing.size === 0;
  });
}

/** Deletes pods and returns when the mirror shows them as gone or going. */
export async function deletePods(
  context: Context,
  ref: ResourceRef,
  owner: KubeObject,
  pods: readonly Pod[],
): Promise<void> {
  const subject = subjectOf(ref, owner);
  await forEachLimited(pods, PARALLEL, async (pod) => {
    const { uid } = pod.metadata;
    const preconditions = uid === undefined ? undefined : { uid };
    await ignoreMissing(context.client.delete(PODS, pod.metadata, { preconditions }));
    context.events.event(subject, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
  });
  await context.pods.until(() =>
    pods.every((pod) => {
      const now = context.pods.store.get(keyOf(pod));
      return now?.metadata.uid !== pod.metadata.uid || now?.metadata.deletionTimestamp !== undefined;
    }),
  );
}

/** A workload whose pods a selector names. */
type Selecting = KubeObject & { spec?: { selector?: LabelSelector | undefined } | undefined };

/**
 * The objects that `owner` controls, after taking in matching orphans and letting go what its selector no longer matches.
 */
export async function claim<T extends KubeObject>(
  context: Context,
  view: View<T>,
  target: ResourceRef<T>,
  ref: ResourceRef,
  owner: Selecting,
): Promise<T[]> {
  const selector = owner.spec?.selector;
  const owned: T[] = [];
  for (const object of view.ownedBy(owner.metadata.uid)) {
    if (matchesSelector(selector, object.metadata.labels)) owned.push(object);
    else if (object.metadata.deletionTimestamp === undefined) await release(context, target, owner, object);
  }
  if (owner.metadata.deletionTimestamp !== undefined) return owned;
  for (const object of view.inNamespace(owner.metadata.namespace)) {
    const orphan = controllerOf(object) === undefined && object.metadata.deletionTimestamp === undefined;
    if (!orphan || !matchesSelector(selector, object.metadata.labels)) continue;
    const { uid } = object.metadata;
    const references = [...(object.metadata.ownerReferences ?? []), ownerReference(ref, owner)];
    const patch = { metadata: { uid, ownerReferences: references } };
    owned.push(await context.client.patch(target, object.metadata, 'merge', patch));
  }
  return owned;
}

async function release(
  context: Context,
  target: ResourceRef,
  owner: KubeObject,
  object: KubeObject,
): Promise<void> {
  const references = object.metadata.ownerReferences?.filter(
    (reference) => reference.uid !== owner.metadata.uid,
  );
  const patch = { metadata: { uid: object.metadata.uid, ownerReferences: references ?? [] } };
  await ignoreMissing(context.client.patch(target, object.metadata, 'merge', patch));
}

/** Feeds a queue with the owners of changed pods, and with possible owners of orphans. */
export function followPods<
  T extends KubeObject & { spec?: { selector?: LabelSelector | undefined } | undefined },
>(context: Context, kind: string, owners: View<T>, add: (key: string) => void): void {
  context.pods.onChange((pod, old) => {
    for (const state of old && controllerOf(old)?.uid !== controllerOf(pod)?.uid ? [old, pod] : [pod]) {
      const owner = controllerOf(state);
      if (owner) {
        if (owner.kind === kind) add(`${state.metadata.namespace}/${owner.name}`);
        continue;
      }
      for (const candidate of owners.inNamespace(state.metadata.namespace)) {
        if (matchesSelector(candidate.spec?.selector, state.metadata.labels)) add(keyOf(candidate));
      }
    }
  });
}
