// SPDX-License-Identifier: Apache-2.0
import { JOBS, keyOf, type Job, type Pod } from '@cilium-ts/kube';
import { sameJson } from './canonical.ts';
import { createQueue, ignoreMissing, subjectOf, type Context, type Controller } from './context.ts';
import {
  createPods,
  deletePods,
  followPods,
  isPodActive,
  isPodFinished,
  isPodReady,
  podFromTemplate,
} from './pods.ts';

type JobStatus = NonNullable<Job['status']>;

/** First delay before a failed pod is tried anew, doubled each time; milliseconds. */
const RETRY_MS = 10_000;
const RETRY_MAX_MS = 360_000;

/** Runs pods until enough of them succeeded or too many failed. Completion mode Indexed is not supported. */
export function jobController(context: Context): Controller {
  const queue = createQueue(context, 'job', (key) => syncJob(context, key));
  return {
    start() {
      context.jobs.onChange((job) => queue.add(keyOf(job)));
      followPods(context, 'Job', context.jobs, (key) => queue.add(key));
    },
    stop: () => queue.stop(),
  };
}

export function finishedCondition(job: Job): { type: string; at: number } | undefined {
  const condition = job.status?.conditions?.find(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
  return condition && { type: condition.type, at: Date.parse(condition.lastTransitionTime ?? '') || 0 };
}

async function syncJob(context: Context, key: string): Promise<number | void> {
  const job = context.jobs.store.get(key);
  if (!job?.spec || job.metadata.deletionTimestamp !== undefined) return;
  const finished = finishedCondition(job);
  if (finished) return expire(context, job, finished.at);
  if (job.spec.completionMode === 'Indexed') {
    const message = 'completionMode Indexed is not supported by this cluster';
    context.events.event(subjectOf(JOBS, job), 'Warning', 'FailedCreate', message);
    return;
  }
  const pods = context.pods.ownedBy(job.metadata.uid);
  const counts = countPods(job, pods);
  const verdict = judge(job, counts);
  if (verdict) {
    await deletePods(context, JOBS, job, pods.filter(isPodActive));
    return finish(context, job, counts, verdict);
  }
  const wait = await work(context, job, pods, counts);
  await writeStatus(context, job, runningStatus(job, countPods(job, context.pods.ownedBy(job.metadata.uid))));
  return wait;
}

interface Counts {
  readonly active: number;
  readonly ready: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Restarts in place; they count towards the back-off limit. */
  readonly restarts: number;
  readonly lastFailure: number;
}

function countPods(job: Job, pods: readonly Pod[]): Counts {
  const active = pods.filter(isPodActive);
  const failed = pods.filter((pod) => pod.status?.phase === 'Failed');
  const restarts = job.spec!.template.spec?.restartPolicy === 'OnFailure' ? active.flatMap(restartsOf) : [];
  return {
    active: active.length,
    ready: active.filter(isPodReady).length,
    succeeded: pods.filter((pod) => pod.status?.phase === 'Succeeded').length,
    failed: failed.length,
    restarts: restarts.reduce((sum, count) => sum + count, 0),
    lastFailure: Math.max(0, ...failed.map(endedAt)),
  };
}

function restartsOf(pod: Pod): number[] {
  return (pod.status?.containerStatuses ?? []).map((status) => status.restartCount);
}

function endedAt(pod: Pod): number {
  const times = (pod.status?.containerStatuses ?? []).map((status) =>
    Date.parse(status.state?.terminated?.finishedAt ?? ''),
  );
  return Math.max(0, ...times.filter((time) => !Number.isNaN(time)));
}

interface Verdict {
  readonly type: 'Complete' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

function judge(job: Job, counts: Counts): Verdict | undefined {
  const spec = job.spec!;
  if (counts.failed + counts.restarts > (spec.backoffLimit ?? 6)) {
    const message = 'Job has reached the specified backoff limit';
    return { type: 'Failed', reason: 'BackoffLimitExceeded', message };
  }
  const started = Date.parse(job.status?.startTime ?? '');
  const limit = spec.activeDeadlineSeconds;
  if (limit !== undefined && Date.now() - started >= limit * 1000) {
    const message = 'Job was active longer than specified deadline';
    return { type: 'Failed', reason: 'DeadlineExceeded', message };
  }
  // Without `completions` one success and no pod left running is enough.
  const done =
    spec.completions === undefined
      ? counts.succeeded > 0 && counts.active === 0
      : counts.succeeded >= spec.completions;
  return done
    ? { type: 'Complete', reason: 'CompletionsReached', message: 'Reached expected number of succeeded pods' }
    : undefined;
}

/** Makes or removes pods; returns milliseconds until the next look. */
async function work(
  context: Context,
  job: Job,
  pods: readonly Pod[],
  counts: Counts,
): Promise<number | undefined> {
  const spec = job.spec!;
  const left = deadlineLeft(job);
  if (spec.suspend) {
    await deletePods(context, JOBS, job, pods.filter(isPodActive));
    return undefined;
  }
  const parallelism = spec.parallelism ?? 1;
  let wanted = parallelism;
  if (spec.completions !== undefined) wanted = Math.min(parallelism, spec.completions - counts.succeeded);
  else if (counts.succeeded > 0) wanted = counts.active;
  if (counts.active > wanted) {
    const surplus = pods.filter(isPodActive).slice(0, counts.active - wanted);
    await deletePods(context, JOBS, job, surplus);
  }
  if (counts.active >= wanted) return left;
  // A leaving pod's place is free only when it is gone.
  const leaving = pods.filter(
    (pod) => pod.metadata.deletionTimestamp !== undefined && !isPodFinished(pod),
  ).length;
  const missing = wanted - counts.active - leaving;
  if (missing <= 0) return left;
  if (counts.failed > 0) {
    const delay = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** (counts.failed - 1));
    const wait = counts.lastFailure + delay - Date.now();
    if (wait > 0) return Math.min(wait, left ?? wait);
  }
  await createPods(
    context,
    JOBS,
    job,
    Array.from({ length: missing }, () => jobPod(job)),
  );
  return left;
}

function deadlineLeft(job: Job): number | undefined {
  const limit = job.spec!.activeDeadlineSeconds;
  if (limit === undefined) return undefined;
  const started = Date.parse(job.status?.startTime ?? '') || Date.now();
  return Math.max(0, started + limit * 1000 - Date.now()) + 20;
}

function jobPod(job: Job): Pod {
  const pod = podFromTemplate(JOBS, job, job.spec!.template);
  const { name, uid = '' } = job.metadata;
  pod.metadata.labels = {
    ...pod.metadata.labels,
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  };
  pod.spec!.restartPolicy = job.spec!.template.spec?.restartPolicy ?? 'Never';
  return pod;
}

function runningStatus(job: Job, counts: Counts): JobStatus {
  return {
    ...job.status,
    startTime: job.spec!.suspend ? job.status?.startTime : (job.status?.startTime ?? seconds()),
    active: counts.active || undefined,
    ready: counts.ready,
    succeeded: counts.succeeded || undefined,
    failed: counts.failed || undefined,
    terminating: 0,
    uncountedTerminatedPods: {},
  };
}

async function finish(context: Context, job: Job, counts: Counts, verdict: Verdict): Promise<number | void> {
  const now = seconds();
  const { type, reason, message } = verdict;
  const base = { status: 'True', reason, message, lastProbeTime: now, lastTransitionTime: now };
  const complete = type === 'Complete';
  const status: JobStatus = {
    ...runningStatus(job, counts),
    active: undefined,
    ready: 0,
    completionTime: complete ? now : undefined,
    conditions: [
      ...(job.status?.conditions ?? []),
      { ...base, type: complete ? 'SuccessCriteriaMet' : 'FailureTarget' },
      { ...base, type },
    ],
  };
  await writeStatus(context, job, status);
  const subject = subjectOf(JOBS, job);
  if (complete) context.events.event(subject, 'Normal', 'Completed', 'Job completed');
  else context.events.event(subject, 'Warning', reason, message);
}

/** Removes a finished job after its `ttlSecondsAfterFinished`. */
async function expire(context: Context, job: Job, finishedAt: number): Promise<number | void> {
  const ttl = job.spec!.ttlSecondsAfterFinished;
  if (ttl === undefined) return;
  const left = finishedAt + ttl * 1000 - Date.now();
  if (left > 0) return left + 20;
  await ignoreMissing(context.client.delete(JOBS, job.metadata, { propagationPolicy: 'Foreground' }));
}

async function writeStatus(context: Context, job: Job, status: JobStatus): Promise<void> {
  if (!sameJson(status, job.status)) await context.client.replaceStatus(JOBS, { ...job, status });
}

function seconds(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
