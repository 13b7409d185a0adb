// SPDX-License-Identifier: Apache-2.0
import type { Deployment, DeploymentCondition, ReplicaSet } from '@cilium-ts/kube';

type Status = NonNullable<Deployment['status']>;

export interface StatusResult {
  readonly status: Status;
  /** Milliseconds after which the progress deadline has to be looked at. */
  readonly recheckMs: number | undefined;
}

interface Totals {
  readonly replicas: number;
  readonly updated: number;
  readonly ready: number;
  readonly available: number;
}

export interface StatusInput {
  readonly deployment: Deployment;
  /** All replica sets of the deployment. */
  readonly sets: readonly ReplicaSet[];
  /** The one of the present template. */
  readonly fresh: ReplicaSet | undefined;
  readonly bounds: { readonly surge: number; readonly unavailable: number };
  /** The generation acted upon. */
  readonly observed: number | undefined;
}

/** The status as `kubectl get`, `rollout status` and `wait` read it. */
export function deploymentStatus(input: StatusInput, now = new Date()): StatusResult {
  const { deployment, sets, fresh, bounds, observed } = input;
  const sum = (pick: (set: ReplicaSet) => number | undefined): number =>
    sets.reduce((total, set) => total + (pick(set) ?? 0), 0);
  const totals: Totals = {
    replicas: sum((set) => set.status?.replicas),
    updated: fresh?.status?.replicas ?? 0,
    ready: sum((set) => set.status?.readyReplicas),
    available: sum((set) => set.status?.availableReplicas),
  };
  const wanted = sum((set) => set.spec?.replicas);
  const recheck: { ms?: number } = {};
  const conditions = [
    availableCondition(deployment, totals, bounds, now),
    progressingCondition(deployment, fresh, totals, now, recheck),
    ...failureConditions(fresh),
  ];
  const collisions = deployment.status?.collisionCount;
  return {
    status: {
      observedGeneration: observed,
      replicas: totals.replicas || undefined,
      updatedReplicas: totals.updated || undefined,
      readyReplicas: totals.ready || undefined,
      availableReplicas: totals.available || undefined,
      unavailableReplicas: Math.max(0, wanted - totals.available) || undefined,
      conditions,
      ...(collisions ? { collisionCount: collisions } : {}),
    },
    recheckMs: recheck.ms,
  };
}

function find(deployment: Deployment, type: string): DeploymentCondition | undefined {
  return deployment.status?.conditions?.find((condition) => condition.type === type);
}

type Claim = Pick<DeploymentCondition, 'type' | 'status' | 'reason' | 'message'>;

/** The condition that says so; the old one where it said the same. */
function condition(old: DeploymentCondition | undefined, claim: Claim, now: Date): DeploymentCondition {
  if (old?.status === claim.status && old.reason === claim.reason && old.message === claim.message)
    return old;
  const time = now.toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    ...claim,
    lastUpdateTime: time,
    lastTransitionTime: old?.status === claim.status ? old.lastTransitionTime : time,
  };
}

function availableCondition(
  deployment: Deployment,
  totals: Totals,
  bounds: { unavailable: number },
  now: Date,
): DeploymentCondition {
  const replicas = deployment.spec!.replicas ?? 1;
  const unavailable = deployment.spec!.strategy?.type === 'Recreate' ? 0 : bounds.unavailable;
  const old = find(deployment, 'Available');
  const enough = totals.available >= replicas - unavailable;
  const claim = {
    type: 'Available',
    status: enough ? 'True' : 'False',
    reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
  };
  return condition(old, claim, now);
}

function progressingCondition(
  deployment: Deployment,
  fresh: ReplicaSet | undefined,
  totals: Totals,
  now: Date,
  recheck: { ms?: number },
): DeploymentCondition {
  const old = find(deployment, 'Progressing');
  const make = (status: string, reason: string, message: string): DeploymentCondition =>
    condition(old, { type: 'Progressing', status, reason, message }, now);
  if (deployment.spec!.paused) {
    return make('Unknown', 'DeploymentPaused', 'Deployment is paused');
  }
  const replicas = deployment.spec!.replicas ?? 1;
  const name = fresh?.metadata.name ?? deployment.metadata.name;
  const complete =
    fresh !== undefined &&
    totals.updated === replicas &&
    totals.replicas === replicas &&
    totals.available === replicas;
  if (complete) {
    return make('True', 'NewReplicaSetAvailable', `ReplicaSet "${name}" has successfully progressed.`);
  }
  const was = deployment.status;
  const moved =
    (was?.updatedReplicas ?? 0) < totals.updated ||
    (was?.readyReplicas ?? 0) < totals.ready ||
    (was?.availableReplicas ?? 0) < totals.available ||
    (was?.replicas ?? 0) - (was?.updatedReplicas ?? 0) > totals.replicas - totals.updated;
  // What was complete is not: the deadline runs from this moment.
  const restarted =
    old === undefined ||
    (old.reason === 'NewReplicaSetAvailable' && deployment.metadata.generation !== was?.observedGeneration) ||
    old.reason === 'DeploymentPaused';
  if (old?.reason === 'NewReplicaSetAvailable' && !restarted) return old;
  if (restarted) {
    deadline(deployment, now, now, recheck);
    const reason = totals.updated === 0 ? 'NewReplicaSetCreated' : 'ReplicaSetUpdated';
    const verb = totals.updated === 0 ? 'Created new replica set' : 'ReplicaSet';
    return make(
      'True',
      reason,
      totals.updated === 0 ? `${verb} "${name}"` : `${verb} "${name}" is progressing.`,
    );
  }
  if (moved) {
    deadline(deployment, now, now, recheck);
    const next = make('True', 'ReplicaSetUpdated', `ReplicaSet "${name}" is progressing.`);
    return { ...next, lastUpdateTime: now.toISOString().replace(/\.\d+Z$/, 'Z') };
  }
  const since = new Date(old!.lastUpdateTime ?? now);
  if (old!.reason !== 'ProgressDeadlineExceeded' && deadline(deployment, since, now, recheck)) {
    return make('False', 'ProgressDeadlineExceeded', `ReplicaSet "${name}" has timed out progressing.`);
  }
  return old!;
}

/** True where the deadline, counted from `since`, has passed; else says when to look again. */
function deadline(deployment: Deployment, since: Date, now: Date, recheck: { ms?: number }): boolean {
  const limit = (deployment.spec!.progressDeadlineSeconds ?? 600) * 1000;
  const left = since.getTime() + limit - now.getTime();
  if (left <= 0) return true;
  recheck.ms = left + 1000;
  return false;
}

function failureConditions(fresh: ReplicaSet | undefined): DeploymentCondition[] {
  const failure = fresh?.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
  if (!failure) return [];
  const { type, status, reason, message, lastTransitionTime } = failure;
  return [{ type, status, reason, message, lastTransitionTime, lastUpdateTime: lastTransitionTime }];
}
