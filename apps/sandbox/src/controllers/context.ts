// SPDX-License-Identifier: Apache-2.0
import type { Logger, Stoppable } from '@cilium-ts/base';
import {
  EventRecorder,
  WorkQueue,
  CONTROLLER_REVISIONS,
  DAEMON_SETS,
  DEPLOYMENTS,
  ENDPOINTS,
  ENDPOINT_SLICES,
  JOBS,
  NAMESPACES,
  NODES,
  PODS,
  REPLICA_SETS,
  SERVICES,
  STATEFUL_SETS,
  apiVersionOf,
  isAlreadyExists,
  isConflict,
  isNotFound,
  type ControllerRevision,
  type DaemonSet,
  type Deployment,
  type EndpointSlice,
  type Endpoints,
  type EventSubject,
  type Job,
  type KubeClient,
  type KubeObject,
  type Namespace,
  type Node,
  type Pod,
  type ReplicaSet,
  type ResourceRef,
  type Service,
  type StatefulSet,
} from '@cilium-ts/kube';
import { View } from './view.ts';

/** What all controllers share: the client, one mirror for each kind, and a recorder. */
export interface Context {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly pods: View<Pod>;
  readonly nodes: View<Node>;
  readonly namespaces: View<Namespace>;
  readonly services: View<Service>;
  readonly endpointSlices: View<EndpointSlice>;
  readonly endpoints: View<Endpoints>;
  readonly deployments: View<Deployment>;
  readonly replicaSets: View<ReplicaSet>;
  readonly daemonSets: View<DaemonSet>;
  readonly statefulSets: View<StatefulSet>;
  readonly jobs: View<Job>;
  readonly revisions: View<ControllerRevision>;
}

export function createContext(client: KubeClient, log: Logger, component: string): Context {
  const view = <T extends KubeObject>(resource: ResourceRef<T>): View<T> =>
    new View<T>({ client, log, resource, transform: withoutManagedFields });
  return {
    client,
    log,
    events: new EventRecorder({ client, component, log }),
    pods: new View({
      client,
      log,
      resource: PODS,
      transform: withoutManagedFields,
      indexers: { node: (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []) },
    }),
    nodes: view(NODES),
    namespaces: view(NAMESPACES),
    services: view(SERVICES),
    endpointSlices: view(ENDPOINT_SLICES),
    endpoints: view(ENDPOINTS),
    deployments: view(DEPLOYMENTS),
    replicaSets: view(REPLICA_SETS),
    daemonSets: view(DAEMON_SETS),
    statefulSets: view(STATEFUL_SETS),
    jobs: view(JOBS),
    revisions: view(CONTROLLER_REVISIONS),
  };
}

export function viewsOf(context: Context): View<KubeObject>[] {
  return Object.values(context).filter((value): value is View<KubeObject> => value instanceof View);
}

function withoutManagedFields<T extends KubeObject>(object: T): T {
  delete object.metadata.managedFields;
  return object;
}

/** Something that reacts to changes; started when the mirrors it reads are complete. */
export interface Controller extends Stoppable {
  start(): void;
}

/** A work queue of object keys that starts with everything there is and treats lost races as normal. */
export function createQueue(
  context: Context,
  name: string,
  process: (key: string) => Promise<number | void>,
  concurrency = 4,
): WorkQueue<string> {
  const isExpected = (error: unknown): boolean =>
    isConflict(error) || isNotFound(error) || isAlreadyExists(error);
  return new WorkQueue({ name, process, concurrency, log: context.log, isExpected });
}

/** An object as the subject of an event; lists leave out its kind. */
export function subjectOf(ref: ResourceRef, object: KubeObject): EventSubject {
  return { apiVersion: apiVersionOf(ref), kind: ref.kind, metadata: object.metadata };
}

/** Carries out an action that is fine with the object being gone already. */
export async function ignoreMissing(action: Promise<unknown>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Runs `action` for every item, at most `limit` at a time; the first error is thrown after all have ended. */
export async function forEachLimited<T>(
  items: readonly T[],
  limit: number,
  action: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const errors: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        await action(item);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (errors.length > 0) throw errors[0];
}
