// SPDX-License-Identifier: Apache-2.0
import {
  DAEMON_SETS,
  PODS,
  keyOf,
  type DaemonSet,
  type Node,
  type Pod,
  type Toleration,
} from '@cilium-ts/kube';
import { sameJson } from './canonical.ts';
import { createQueue, type Context, type Controller } from './context.ts';
import { resolveCount } from './deployment-sizes.ts';
import { blockingTaint, isOutsideNode, matchesNode } from './node-fit.ts';
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
import { REVISION_LABEL, ensureRevision, pruneRevisions, type Revisions } from './revisions.ts';

const GENERATION_ANNOTATION = 'deprecated.daemonset.template.generation';
const GENERATION_LABEL = 'pod-template-generation';
/** Milliseconds before a failed daemon pod is replaced, so that a broken one does not spin. */
const FAILED_POD_MS = 1000;

/** Keeps one pod of the template on every node that it fits. */
export function daemonSetController(context: Context): Controller {
  const queue = createQueue(context, 'daemonset', (key) => syncDaemonSet(context, key));
  return {
    start() {
      context.daemonSets.onChange((set) => queue.add(keyOf(set)));
      followPods(context, 'DaemonSet', context.daemonSets, (key) => queue.add(key));
      context.revisions.onChange((revision) => {
        const owner = revision.metadata.ownerReferences?.find(({ kind }) => kind === 'DaemonSet');
        if (owner) queue.add(`${revision.metadata.namespace}/${owner.name}`);
      });
      context.nodes.onChange((node, old) => {
        if (old && sameJson(placement(old), placement(node))) return;
        for (const set of context.daemonSets.store.values()) queue.add(keyOf(set));
      });
    },
    stop: () => queue.stop(),
  };
}

/** What of a node decides where daemons run. */
function placement(node: Node): unknown {
  return [node.metadata.labels, node.spec?.taints, node.spec?.unschedulable];
}

/** Daemons stay and start where ordinary pods do not. */
function daemonTolerations(hostNetwork: boolean): Toleration[] {
  const always: Toleration[] = [
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
    { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
    { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoSchedule' },
  ];
  if (!hostNetwork) return always;
  return [
    ...always,
    { key: 'node.kubernetes.io/network-unavailable', operator: 'Exists', effect: 'NoSchedule' },
  ];
}

function daemonPod(set: DaemonSet, node: string, revision: string): Pod {
  const pod = podFromTemplate(DAEMON_SETS, set, set.spec!.template);
  pod.metadata.labels = {
    ...pod.metadata.labels,
    [REVISION_LABEL]: revision,
    [GENERATION_LABEL]: set.metadata.annotations?.[GENERATION_ANNOTATION] ?? '1',
  };
  const spec = pod.spec!;
  spec.tolerations = [...(spec.tolerations ?? []), ...daemonTolerations(spec.hostNetwork === true)];
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
    ?.nodeSelectorTerms ?? [{}];
  const named = { key: 'metadata.name', operator: 'In', values: [node] };
  spec.affinity = {
    ...spec.affinity,
    nodeAffinity: {
      ...spec.affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields: [named] })),
      },
    },
  };
  return pod;
}

/** Whether a daemon pod should run on the node. */
export function runsOn(set: DaemonSet, node: Node): boolean {
  if (isOutsideNode(node) || node.metadata.deletionTimestamp !== undefined) return false;
  const spec = set.spec!.template.spec;
  if (!spec || !matchesNode(spec, node)) return false;
  const tolerations = [...(spec.tolerations ?? []), ...daemonTolerations(spec.hostNetwork === true)];
  return blockingTaint({ ...spec, tolerations }, node) === undefined;
}

/** The node a daemon pod is on or meant for. */
function nodeOf(pod: Pod): string | undefined {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required?.nodeSelectorTerms[0]?.matchFields?.find(({ key }) => key === 'metadata.name')?.values?.[0];
}

async function syncDaemonSet(context: Context, key: string): Promise<number | void> {
  const set = context.daemonSets.store.get(key);
  if (!set?.spec) return;
  const pods = await claim(context, context.pods, PODS, DAEMON_SETS, set);
  if (set.metadata.deletionTimestamp !== undefined) return;
  const revisions = await ensureRevision(context, DAEMON_SETS, set);
  const wanted = new Set(
    context.nodes.store
      .list()
      .filter((node) => runsOn(set, node))
      .map((node) => node.metadata.name),
  );
  const failedWait = await place(context, set, pods, wanted, revisions.hash);
  const present = context.pods.ownedBy(set.metadata.uid);
  if (set.spec.updateStrategy?.type !== 'OnDelete')
    await update(context, set, present, wanted, revisions.hash);
  await pruneRevisions(
    context,
    set,
    revisions,
    new Set(present.map((pod) => pod.metadata.labels?.[REVISION_LABEL] ?? '')),
  );
  const recheck = await writeStatus(context, set, wanted, revisions);
  return failedWait ?? recheck;
}

/** One pod for each wanted node, none elsewhere, no second one. */
async function place(
  context: Context,
  set: DaemonSet,
  pods: readonly Pod[],
  wanted: ReadonlySet<string>,
  revision: string,
): Promise<number | undefined> {
  const covered = new Set<string>();
  const surplus: Pod[] = [];
  let wait: number | undefined;
  const oldestFirst = [...pods].sort(
    (a, b) => Date.parse(a.metadata.creationTimestamp ?? '') - Date.parse(b.metadata.creationTimestamp ?? ''),
  );
  for (const pod of oldestFirst) {
    const node = nodeOf(pod) ?? '';
    const leaving = pod.metadata.deletionTimestamp !== undefined;
    const failed = pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
    if (leaving)
      covered.add(node); // its successor starts when it is gone
    else if (!wanted.has(node) || covered.has(node)) surplus.push(pod);
    else {
      covered.add(node);
      if (!failed) continue;
      const since = Date.now() - Date.parse(pod.metadata.creationTimestamp ?? '');
      if (since >= FAILED_POD_MS) surplus.push(pod);
      else wait = FAILED_POD_MS - since + 50;
    }
  }
  const missing = [...wanted].filter((node) => !covered.has(node));
  await deletePods(context, DAEMON_SETS, set, surplus);
  const fresh = missing.map((node) => daemonPod(set, node, revision));
  await createPods(context, DAEMON_SETS, set, fresh);
  return wait;
}

/** Replaces pods of older revisions, at most `maxUnavailable` nodes without a working pod at a time. */
async function update(
  context: Context,
  set: DaemonSet,
  pods: readonly Pod[],
  wanted: ReadonlySet<string>,
  revision: string,
): Promise<void> {
  const now = Date.now();
  const minReady = set.spec!.minReadySeconds ?? 0;
  const limit = Math.max(
    1,
    resolveCount(set.spec!.updateStrategy?.rollingUpdate?.maxUnavailable, wanted.size, true, 1),
  );
  const working = new Set<string>();
  for (const pod of pods) {
    if (isPodActive(pod) && availableIn(pod, minReady, now) === 0) working.add(nodeOf(pod) ?? '');
  }
  const old = pods.filter((pod) => isPodActive(pod) && pod.metadata.labels?.[REVISION_LABEL] !== revision);
  // Old pods that do not work cost nothing to replace.
  const broken = old.filter((pod) => !working.has(nodeOf(pod) ?? ''));
  let budget = limit - [...wanted].filter((node) => !working.has(node)).length;
  const chosen = [...broken];
  for (const pod of old) {
    if (broken.includes(pod) || budget-- <= 0) continue;
    chosen.push(pod);
  }
  await deletePods(context, DAEMON_SETS, set, chosen);
}

async function writeStatus(
  context: Context,
  set: DaemonSet,
  wanted: ReadonlySet<string>,
  revisions: Revisions,
): Promise<number | void> {
  const now = Date.now();
  const pods = context.pods
    .ownedBy(set.metadata.uid)
    .filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const running = pods.filter((pod) => wanted.has(nodeOf(pod) ?? ''));
  const waits = running.map((pod) => availableIn(pod, set.spec!.minReadySeconds ?? 0, now));
  const available = waits.filter((wait) => wait === 0).length;
  const status: NonNullable<DaemonSet['status']> = {
    currentNumberScheduled: new Set(running.map(nodeOf)).size,
    numberMisscheduled: pods.length - running.length,
    desiredNumberScheduled: wanted.size,
    numberReady: running.filter(isPodReady).length,
    observedGeneration: set.metadata.generation,
    updatedNumberScheduled: running.filter((pod) => pod.metadata.labels?.[REVISION_LABEL] === revisions.hash)
      .length,
    numberAvailable: available,
    numberUnavailable: Math.max(0, wanted.size - available) || undefined,
  };
  if (!sameJson(status, set.status)) await context.client.replaceStatus(DAEMON_SETS, { ...set, status });
  const later = waits.filter((wait): wait is number => wait !== undefined && wait > 0);
  return later.length > 0 ? Math.min(...later) + 10 : undefined;
}
