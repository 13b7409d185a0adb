// SPDX-License-Identifier: Apache-2.0
import { EVENTS, NODES, PODS, keyOf, type Node, type Pod, type Taint } from '@cilium-ts/kube';
import { errorMessage } from '@cilium-ts/base';
import { sameJson } from './canonical.ts';
import { createQueue, ignoreMissing, type Context, type Controller } from './context.ts';
import { isOutsideNode } from './node-fit.ts';

const NOT_READY = 'node.kubernetes.io/not-ready';
const UNSCHEDULABLE = 'node.kubernetes.io/unschedulable';
/** Milliseconds that an event lives, and between looks for old ones. */
const EVENT_TTL_MS = 3_600_000;
const EVENT_SWEEP_MS = 300_000;

/** Removes pods of nodes that are gone, and pods deleted before they had a node. */
export function podCollector(context: Context): Controller {
  const queue = createQueue(context, 'pod-gc', (key) => syncPod(context, key), 8);
  return {
    start() {
      context.pods.onChange((pod) => {
        if (isLost(context, pod)) queue.add(keyOf(pod));
      });
      context.nodes.subscribe({
        onDelete: (node) => {
          for (const pod of context.pods.store.byIndex('node', node.metadata.name)) queue.add(keyOf(pod));
        },
      });
    },
    stop: () => queue.stop(),
  };
}

function isLost(context: Context, pod: Pod): boolean {
  const node = pod.spec?.nodeName;
  if (node) return context.nodes.store.get(node) === undefined;
  return pod.metadata.deletionTimestamp !== undefined;
}

async function syncPod(context: Context, key: string): Promise<void> {
  const pod = context.pods.store.get(key);
  if (!pod || !isLost(context, pod)) return;
  const node = pod.spec?.nodeName;
  // The mirrors of pods and nodes are not in step: ask before killing.
  if (node && (await context.client.find(NODES, { name: node }))) return;
  const { uid } = pod.metadata;
  const preconditions = uid === undefined ? undefined : { uid };
  await ignoreMissing(context.client.delete(PODS, pod.metadata, { gracePeriodSeconds: 0, preconditions }));
}

/** Keeps the taints that follow from a node's Ready condition and from `kubectl cordon`. */
export function nodeTaintController(context: Context): Controller {
  const queue = createQueue(context, 'node-taints', (name) => syncTaints(context, name));
  return {
    start() {
      context.nodes.onChange((node) => queue.add(node.metadata.name));
    },
    stop: () => queue.stop(),
  };
}

/** The node's taints as they should be. */
export function wantedTaints(node: Node): Taint[] {
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const taints = node.spec?.taints ?? [];
  const set = (list: Taint[], key: string, wanted: boolean): Taint[] => {
    const present = list.some((taint) => taint.key === key && taint.effect === 'NoSchedule');
    if (wanted === present) return list;
    if (wanted) return [...list, { key, effect: 'NoSchedule' }];
    return list.filter((taint) => taint.key !== key || taint.effect !== 'NoSchedule');
  };
  const cordoned = set(taints, UNSCHEDULABLE, node.spec?.unschedulable === true);
  return ready === undefined ? cordoned : set(cordoned, NOT_READY, ready !== 'True');
}

async function syncTaints(context: Context, name: string): Promise<void> {
  const node = context.nodes.store.get(name);
  if (!node || isOutsideNode(node)) return;
  const taints = wantedTaints(node);
  if (sameJson(taints, node.spec?.taints ?? [])) return;
  const { resourceVersion } = node.metadata;
  await context.client.patch(NODES, { name }, 'merge', { metadata: { resourceVersion }, spec: { taints } });
}

/** Deletes events after an hour. */
export function eventSweeper(context: Context): Controller {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  return {
    start() {
      timer = setInterval(() => {
        running = sweepEvents(context, Date.now()).catch((error: unknown) => {
          context.log.debug({ error: errorMessage(error) }, 'old events not removed');
        });
      }, EVENT_SWEEP_MS);
    },
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}

export async function sweepEvents(context: Context, now: number): Promise<void> {
  let next: string | undefined;
  do {
    const page = await context.client.list(EVENTS, { limit: 500, continue: next });
    next = page.metadata.continue || undefined;
    for (const event of page.items) {
      const time = event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';
      if (now - Date.parse(time) > EVENT_TTL_MS)
        await ignoreMissing(context.client.delete(EVENTS, event.metadata));
    }
  } while (next !== undefined);
}
