// SPDX-License-Identifier: Apache-2.0
// A pod's status from what its containers do. Pure.
import type { ContainerStatus, Pod, PodCondition, PodStatus } from '@cilium-ts/kube';

export interface PodObservation {
  readonly pod: Pod;
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** The pod's namespaces and its network stand. */
  readonly sandboxReady: boolean;
  readonly initialized: boolean;
  readonly init: readonly ContainerStatus[];
  readonly containers: readonly ContainerStatus[];
  readonly terminating: boolean;
  /** Set where the node refuses the pod. */
  readonly rejected?: { readonly reason: string; readonly message: string } | undefined;
  readonly startTime: string;
}

export function podPhase(seen: PodObservation): string {
  if (seen.rejected) return 'Failed';
  const policy = seen.pod.spec?.restartPolicy ?? 'Always';
  const failedInit = seen.init.some(({ state }) => state?.terminated && state.terminated.exitCode !== 0);
  if (!seen.initialized) return failedInit && policy === 'Never' ? 'Failed' : 'Pending';
  const ended = seen.containers.filter(({ state }) => state?.terminated);
  if (ended.length === seen.containers.length && ended.length > 0) {
    const good = ended.every(({ state }) => state?.terminated?.exitCode === 0);
    if (policy === 'Never' || seen.terminating) return good ? 'Succeeded' : 'Failed';
    if (policy === 'OnFailure' && good) return 'Succeeded';
    return 'Running';
  }
  const waiting = seen.containers.filter(({ state }) => state?.waiting);
  const neverRan = waiting.filter(({ lastState }) => !lastState?.terminated);
  return neverRan.length > 0 ? 'Pending' : 'Running';
}

export function qosClass(pod: Pod): string {
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  let any = false;
  let guaranteed = true;
  for (const { resources } of all) {
    for (const name of ['cpu', 'memory']) {
      const limit = resources?.limits?.[name];
      const request = resources?.requests?.[name] ?? limit;
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || request !== limit) guaranteed = false;
    }
  }
  return !any ? 'BestEffort' : guaranteed ? 'Guaranteed' : 'Burstable';
}

/** Conditions of others (readiness gates, the scheduler) are kept; a time changes only with its status. */
function conditions(seen: PodObservation, phase: string): PodCondition[] {
  const before = seen.pod.status?.conditions ?? [];
  const notReady = seen.containers.filter(({ ready }) => !ready).map(({ name }) => name);
  const over = phase === 'Succeeded' || phase === 'Failed';
  const containersReady = seen.initialized && notReady.length === 0 && seen.containers.length > 0 && !over;
  const gates = seen.pod.spec?.readinessGates ?? [];
  const gatesOpen = gates.every(({ conditionType }) =>
    before.some(({ type, status }) => type === conditionType && status === 'True'),
  );
  const why = over
    ? { reason: 'PodCompleted' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${notReady.join(' ')}]` };
  const own: [string, boolean, object][] = [
    ['PodReadyToStartContainers', seen.sandboxReady, {}],
    ['Initialized', seen.initialized, { reason: 'ContainersNotInitialized' }],
    ['Ready', containersReady && gatesOpen, containersReady ? { reason: 'ReadinessGatesNotReady' } : why],
    ['ContainersReady', containersReady, why],
    ['PodScheduled', true, {}],
  ];
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const named = own.map(([type, good, reason]) => {
    const status = good ? 'True' : 'False';
    const old = before.find((condition) => condition.type === type);
    const lastTransitionTime =
      old?.status === status && old.lastTransitionTime ? old.lastTransitionTime : now;
    return { type, status, lastTransitionTime, ...(good ? {} : reason) } as PodCondition;
  });
  const names = new Set(own.map(([type]) => type));
  return [...named, ...before.filter(({ type }) => !names.has(type))];
}

export function podStatus(seen: PodObservation): PodStatus {
  const phase = podPhase(seen);
  return {
    phase,
    conditions: conditions(seen, phase),
    hostIP: seen.hostIps[0],
    hostIPs: seen.hostIps.map((ip) => ({ ip })),
    ...(seen.podIps.length > 0 ? { podIP: seen.podIps[0], podIPs: seen.podIps.map((ip) => ({ ip })) } : {}),
    startTime: seen.startTime,
    qosClass: qosClass(seen.pod),
    ...(seen.init.length > 0 ? { initContainerStatuses: [...seen.init] } : {}),
    containerStatuses: [...seen.containers],
    ...(seen.rejected ? { reason: seen.rejected.reason, message: seen.rejected.message } : {}),
  } as PodStatus;
}
