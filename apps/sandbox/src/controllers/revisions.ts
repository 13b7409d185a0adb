// SPDX-License-Identifier: Apache-2.0
import {
  CONTROLLER_REVISIONS,
  isAlreadyExists,
  keyOf,
  type ControllerRevision,
  type KubeObject,
  type PodTemplateSpec,
  type ResourceRef,
} from '@cilium-ts/kube';
import { safeHash, sameJson } from './canonical.ts';
import { ignoreMissing, type Context } from './context.ts';
import { ownerReference } from './pods.ts';

export const REVISION_LABEL = 'controller-revision-hash';

interface Templated extends KubeObject {
  spec?: { template: PodTemplateSpec; revisionHistoryLimit?: number | undefined } | undefined;
}

/** What a revision keeps: a patch that brings the template back, as `kubectl rollout undo` applies it. */
function revisionData(owner: Templated): unknown {
  return { spec: { template: { ...owner.spec!.template, $patch: 'replace' } } };
}

export interface Revisions {
  /** Revision of the present template. */
  readonly current: ControllerRevision;
  /** Value of the pods' revision label. */
  readonly hash: string;
  readonly all: readonly ControllerRevision[];
}

/** Finds or makes the revision of the owner's present template and gives it the highest number. */
export async function ensureRevision(
  context: Context,
  ref: ResourceRef,
  owner: Templated,
): Promise<Revisions> {
  const data = revisionData(owner);
  const all = context.revisions.ownedBy(owner.metadata.uid);
  const highest = Math.max(0, ...all.map((revision) => revision.revision));
  let current = all.find((revision) => sameJson(revision.data, data));
  if (!current) current = await createRevision(context, ref, owner, data, highest + 1);
  else if (current.revision < highest) {
    current = await context.client.update(CONTROLLER_REVISIONS, { ...current, revision: highest + 1 });
    await sawRevision(context, current);
  }
  return { current, hash: hashOf(current), all: context.revisions.ownedBy(owner.metadata.uid) };
}

export function hashOf(revision: ControllerRevision): string {
  return revision.metadata.labels?.[REVISION_LABEL] ?? '';
}

async function createRevision(
  context: Context,
  ref: ResourceRef,
  owner: Templated,
  data: unknown,
  number: number,
): Promise<ControllerRevision> {
  const { name, namespace } = owner.metadata;
  for (let salt = 0; ; salt++) {
    const hash = safeHash(data, salt);
    try {
      const made = await context.client.create(CONTROLLER_REVISIONS, {
        metadata: {
          name: `${name}-${hash}`,
          namespace,
          labels: { ...owner.spec!.template.metadata?.labels, [REVISION_LABEL]: hash },
          annotations: copiedAnnotations(owner),
          ownerReferences: [ownerReference(ref, owner)],
        },
        data,
        revision: number,
      });
      await sawRevision(context, made);
      return made;
    } catch (error) {
      if (!isAlreadyExists(error) || salt >= 5) throw error;
      const other = await context.client.find(CONTROLLER_REVISIONS, { namespace, name: `${name}-${hash}` });
      const own = other?.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid);
      if (other && own && sameJson(other.data, data)) return other;
    }
  }
}

function copiedAnnotations(owner: KubeObject): Record<string, string> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _applied, ...rest } =
    owner.metadata.annotations ?? {};
  return rest;
}

function sawRevision(context: Context, revision: ControllerRevision): Promise<void> {
  const key = keyOf(revision);
  return context.revisions.until(() => context.revisions.store.get(key)?.revision === revision.revision);
}

/** Removes revisions beyond the history limit that no pod is of. */
export async function pruneRevisions(
  context: Context,
  owner: Templated,
  revisions: Revisions,
  inUse: ReadonlySet<string>,
): Promise<void> {
  const limit = owner.spec!.revisionHistoryLimit ?? 10;
  const idle = revisions.all.filter(
    (revision) => revision.metadata.uid !== revisions.current.metadata.uid && !inUse.has(hashOf(revision)),
  );
  idle.sort((a, b) => a.revision - b.revision);
  for (const revision of idle.slice(0, Math.max(0, idle.length - limit))) {
    await ignoreMissing(context.client.delete(CONTROLLER_REVISIONS, revision.metadata));
  }
}
