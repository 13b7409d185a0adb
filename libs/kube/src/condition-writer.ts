// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Clock, type Logger } from '@cilium-ts/base';
import type { Condition } from '@cilium-ts/crd';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { ResourceRef } from './resources.ts';
import type { KubeObject } from './wire.ts';

/** Merges wanted conditions into present ones; undefined where nothing differs. Conditions of others are kept. */
export function mergeConditions(
  present: readonly Condition[],
  wanted: readonly Condition[],
  now: string,
): Condition[] | undefined {
  let changed = false;
  const merged = wanted.map((condition) => {
    const old = present.find(({ type }) => type === condition.type);
    if (
      old &&
      old.status === condition.status &&
      old.reason === condition.reason &&
      old.message === condition.message
    ) {
      return old;
    }
    changed = true;
    const since = old?.status === condition.status ? (old.lastTransitionTime ?? now) : now;
    return { ...condition, lastTransitionTime: since };
  });
  if (!changed) return undefined;
  return [...present.filter(({ type }) => !wanted.some((condition) => condition.type === type)), ...merged];
}

/** One object and what its status should say. */
export interface WantedConditions {
  readonly resource: ResourceRef<KubeObject>;
  /** As the watch shows it. */
  readonly object: KubeObject;
  readonly conditions: readonly Condition[];
}

/** Milliseconds that changes are gathered: several reasons to write usually fall into one write. */
const GATHER_MS = 60;
const RETRY_MS = 1000;
const PARALLEL = 8;

/** Keeps conditions in the status of objects true; writes only what differs. */
export class ConditionWriter {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #wanted: () => readonly WantedConditions[];
  /** What was written last, until the watch shows it. */
  readonly #written = new Map<string, { uid: string; conditions: readonly Condition[] }>();
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  #stopped = false;

  /** `wanted` is asked at each round; it answers with nothing while somebody else writes. */
  constructor(client: KubeClient, clock: Clock, log: Logger, wanted: () => readonly WantedConditions[]) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#wanted = wanted;
  }

  /** Something that a status says may have changed. */
  changed(): void {
    if (this.#running) this.#again = true;
    else this.#schedule(GATHER_MS);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#timer ??= setTimeout(() => void this.#run(), delayMs);
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#running = true;
    this.#again = false;
    const jobs = [...this.#wanted()];
    let failed = false;
    const work = async (): Promise<void> => {
      for (let job = jobs.pop(); job; job = jobs.pop()) failed = !(await this.#write(job)) || failed;
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    this.#running = false;
    if (failed) this.#schedule(RETRY_MS);
    else if (this.#again) this.changed();
  }

  /** Resolves with false where it must be tried again. */
  async #write({ resource, object, conditions: wanted }: WantedConditions): Promise<boolean> {
    const { name, namespace, uid = '' } = object.metadata;
    const key = `${resource.kind} ${namespace ?? ''} ${name}`;
    const written = this.#written.get(key);
    const shown = (object as { status?: { conditions?: Condition[] } }).status?.conditions ?? [];
    const present = written?.uid === uid ? written.conditions : shown;
    const now = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const conditions = mergeConditions(present, wanted, now);
    if (!conditions) return true;
    try {
      const body = { status: { conditions } };
      await this.#client.patch(resource, { name, namespace }, 'merge', body, { subresource: 'status' });
      this.#written.set(key, { uid, conditions });
      return true;
    } catch (error) {
      if (isNotFound(error)) return true;
      this.#log.warn(
        { kind: resource.kind, namespace, name, error: errorMessage(error) },
        'status not written',
      );
      return false;
    }
  }
}
