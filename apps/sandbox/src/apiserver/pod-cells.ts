// SPDX-License-Identifier: Apache-2.0
import { age } from './ages.ts';
import type { Dict, KubeObject } from './model.ts';

/** Ready, status and restarts of a pod as `kubectl get pods` shows them. */
export function podStatusCells(pod: KubeObject): { ready: string; status: string; restarts: string } {
  const statuses = (pod.status?.containerStatuses ?? []) as Dict[];
  const ready = statuses.filter((status) => status.ready && status.state?.running).length;
  const total = (pod.spec?.containers?.length ?? 0) as number;
  const init = initReason(pod);
  const shown = init ? ((pod.status?.initContainerStatuses ?? []) as Dict[]) : statuses;
  let reason =
    init ?? containerReason(statuses) ?? String(pod.status?.reason ?? pod.status?.phase ?? 'Unknown');
  if (!init && reason === 'Completed' && ready > 0) reason = isReady(pod) ? 'Running' : 'NotReady';
  if (pod.metadata.deletionTimestamp)
    reason = pod.status?.reason === 'NodeLost' ? 'Unknown' : phaseIsFinal(pod) ? reason : 'Terminating';
  return { ready: `${ready}/${total}`, status: reason, restarts: restarts(shown) };
}

const phaseIsFinal = (pod: KubeObject): boolean =>
  ['Succeeded', 'Failed'].includes(String(pod.status?.phase));

function isReady(pod: KubeObject): boolean {
  return ((pod.status?.conditions ?? []) as Dict[]).some((c) => c.type === 'Ready' && c.status === 'True');
}

function restarts(statuses: readonly Dict[]): string {
  const count = statuses.reduce((sum, status) => sum + Number(status.restartCount ?? 0), 0);
  const ends = statuses.map((status) => status.lastState?.terminated?.finishedAt as string | undefined);
  const last = ends.filter(Boolean).sort().at(-1);
  return count > 0 && last ? `${count} (${age(last)} ago)` : String(count);
}

function terminatedReason(terminated: Dict): string {
  if (terminated.reason) return String(terminated.reason);
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`;
}

function initReason(pod: KubeObject): string | undefined {
  const statuses = (pod.status?.initContainerStatuses ?? []) as Dict[];
  const total = (pod.spec?.initContainers?.length ?? 0) as number;
  const sidecars = new Set(
    ((pod.spec?.initContainers ?? []) as Dict[])
      .filter((c) => c.restartPolicy === 'Always')
      .map((c) => c.name),
  );
  for (const [index, status] of statuses.entries()) {
    const { terminated, waiting } = (status.state ?? {}) as Dict;
    if (terminated?.exitCode === 0 || (sidecars.has(status.name) && status.started)) continue;
    if (terminated) return `Init:${terminatedReason(terminated as Dict)}`;
    if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
    return `Init:${index}/${total}`;
  }
  return undefined;
}

function containerReason(statuses: readonly Dict[]): string | undefined {
  let reason: string | undefined;
  for (const status of [...statuses].reverse()) {
    if (status.state?.waiting?.reason) reason = String(status.state.waiting.reason);
    else if (status.state?.terminated) reason = terminatedReason(status.state.terminated as Dict);
  }
  return reason;
}
