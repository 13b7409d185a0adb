// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import { PODS, isConflict, isNotFound, keyOf, type Node, type Pod } from '@cilium-ts/kube';
import { sameJson } from './canonical.ts';
import { createQueue, subjectOf, type Context, type Controller } from './context.ts';
import { isPodFinished } from './pods.ts';
import {
  rejection,
  score,
  unschedulableMessage,
  type Candidate,
  type ClusterState,
} from './scheduler-filters.ts';

/** Milliseconds in which changes of nodes and pods are gathered before waiting pods are tried anew. */
const RETRY_GATHER_MS = 20;
/** Milliseconds after which a placement that never showed up in the mirror is forgotten. */
const ASSUMED_MS = 30_000;

/** Gives pods without a node one. */
export function schedulerController(context: Context): Controller {
  return new Scheduler(context);
}

class Scheduler implements Controller {
  readonly #context: Context;
  readonly #queue;
  /** Placements made but not yet seen in the mirror: pod uid to node. */
  readonly #assumed = new Map<string, { pod: Pod; node: string; at: number }>();
  readonly #waiting = new Set<string>();
  readonly #binding = new Set<Promise<void>>();
  #retry: NodeJS.Timeout | undefined;

  constructor(context: Context) {
    this.#context = context;
    // One at a time, so that each decision sees the ones before it.
    this.#queue = createQueue(context, 'scheduler', (key) => this.#schedule(key), 1);
  }

  start(): void {
    const { pods, nodes } = this.#context;
    pods.onChange((pod, old) => {
      const key = keyOf(pod);
      const isThere = pods.store.get(key)?.metadata.uid === pod.metadata.uid;
      if (!isThere || pod.spec?.nodeName) {
        this.#waiting.delete(key);
        this.#assumed.delete(pod.metadata.uid ?? '');
        // A pod that came, ended or went may have made room or company.
        if (!isThere || !old?.spec?.nodeName || isPodFinished(pod) !== isPodFinished(old))
          this.#retryWaiting();
      } else if (isSchedulable(pod) && (!old || !sameJson(old.spec, pod.spec) || !isSchedulable(old))) {
        this.#queue.add(key);
      }
    });
    nodes.onChange((node, old) => {
      if (!old || !sameJson(placement(old), placement(node))) this.#retryWaiting();
    });
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    await this.#queue.stop();
    await Promise.all(this.#binding);
  }

  #retryWaiting(): void {
    if (this.#waiting.size === 0 || this.#retry) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      for (const key of this.#waiting) this.#queue.add(key);
      this.#waiting.clear();
    }, RETRY_GATHER_MS);
  }

  async #schedule(key: string): Promise<void> {
    const pod = this.#context.pods.store.get(key);
    if (!pod || !isSchedulable(pod) || this.#assumed.has(pod.metadata.uid ?? '')) return;
    const state = this.#state();
    const reasons: string[] = [];
    let best: { candidate: Candidate; points: number } | undefined;
    for (const candidate of state.candidates) {
      const reason = rejection(pod, candidate, state);
      if (reason !== undefined) {
        reasons.push(reason);
        continue;
      }
      const points = score(pod, candidate, state);
      if (!best || points > best.points) best = { candidate, points };
    }
    if (!best) {
      this.#waiting.add(key);
      await this.#refuse(pod, unschedulableMessage(reasons));
      return;
    }
    const node = best.candidate.node.metadata.name;
    this.#assumed.set(pod.metadata.uid ?? '', { pod, node, at: performance.now() });
    const binding = this.#bind(pod, node).finally(() => this.#binding.delete(binding));
    this.#binding.add(binding);
  }

  #state(): ClusterState {
    const { pods, nodes, namespaces } = this.#context;
    const extra = new Map<string, Pod[]>();
    for (const [uid, { pod, node, at }] of this.#assumed) {
      if (performance.now() - at > ASSUMED_MS) this.#assumed.delete(uid);
      else extra.set(node, [...(extra.get(node) ?? []), pod]);
    }
    const candidates = nodes.store
      .list()
      .filter((node) => node.metadata.deletionTimestamp === undefined)
      .map((node) => {
        const placed = pods.store.byIndex('node', node.metadata.name).filter((pod) => !isPodFinished(pod));
        return { node, pods: [...placed, ...(extra.get(node.metadata.name) ?? [])] };
      });
    return { candidates, namespaceLabels: (name) => namespaces.store.get(name)?.metadata.labels };
  }

  async #bind(pod: Pod, node: string): Promise<void> {
    const { client, events, log } = this.#context;
    const { namespace, name, uid } = pod.metadata;
    try {
      await client.raw('POST', `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, namespace, uid },
        target: { apiVersion: 'v1', kind: 'Node', name: node },
      });
      const message = `Successfully assigned ${namespace}/${name} to ${node}`;
      events.event(subjectOf(PODS, pod), 'Normal', 'Scheduled', message);
    } catch (error) {
      this.#assumed.delete(uid ?? '');
      if (isNotFound(error) || isConflict(error)) return;
      log.warn({ pod: keyOf(pod), node, error: errorMessage(error) }, 'pod not bound, trying again');
      this.#queue.addAfter(keyOf(pod), 500);
    }
  }

  /** Says why in the pod's condition, and in an event where the reason is new. */
  async #refuse(pod: Pod, message: string): Promise<void> {
    const old = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    if (old?.status === 'False' && old.message === message) return;
    this.#context.events.event(subjectOf(PODS, pod), 'Warning', 'FailedScheduling', message);
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastProbeTime: null,
      lastTransitionTime: old?.status === 'False' ? old.lastTransitionTime : new Date().toISOString(),
    };
    const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
    const patch = { metadata: { uid: pod.metadata.uid }, status: { conditions: [...others, condition] } };
    await this.#context.client.patch(PODS, pod.metadata, 'merge', patch, { subresource: 'status' });
  }
}

function isSchedulable(pod: Pod): boolean {
  const { nodeName, schedulerName = 'default-scheduler', schedulingGates = [] } = pod.spec ?? {};
  return (
    !nodeName &&
    schedulerName === 'default-scheduler' &&
    schedulingGates.length === 0 &&
    pod.metadata.deletionTimestamp === undefined &&
    !isPodFinished(pod)
  );
}

function placement(node: Node): unknown {
  return [node.metadata.labels, node.spec, node.status?.allocatable];
}
