// SPDX-License-Identifier: Apache-2.0
import { errorMessage, type Clock, type Logger } from '@cilium-ts/base';
import type { Condition } from '@cilium-ts/crd';
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  type KubeClient,
  type KubeObject,
  type ResourceRef,
} from '@cilium-ts/kube';
import {
  formatProblems,
  policyKey,
  type PolicyKind,
  type PolicyName,
  type PolicyObjectState,
  type Problem,
} from '@cilium-ts/policy';

/** How far the nodes are with an object. */
export interface Progress {
  /** Undefined: not published yet. */
  readonly revision: number | undefined;
  readonly acknowledged: number;
  readonly nodes: number;
  /** A node that could not realise it, with its reason. */
  readonly error?: string | undefined;
  /** What it wants otherwise than another policy does for the same traffic. */
  readonly conflicts?: readonly Problem[] | undefined;
}

/** The conditions that an object should show. */
export function conditionsOf(state: PolicyObjectState, progress: Progress): Condition[] {
  return [validCondition(state), enforcedCondition(state, progress)];
}

function validCondition({ problems, previousInForce }: PolicyObjectState): Condition {
  if (problems.length === 0) {
    return { type: 'Valid', status: 'True', reason: 'Valid', message: 'Policy validation succeeded' };
  }
  const rest = previousInForce ? '; the last valid version stays in force' : '';
  return { type: 'Valid', status: 'False', reason: 'Invalid', message: formatProblems(problems) + rest };
}

function enforcedCondition(state: PolicyObjectState, progress: Progress): Condition {
  const { revision, acknowledged, nodes, error } = progress;
  const acks =
    revision === undefined
      ? 'not published yet'
      : `revision ${revision} acknowledged by ${acknowledged}/${nodes} nodes`;
  const off = (reason: string, message: string): Condition => ({
    type: 'Enforced',
    status: 'False',
    reason,
    message,
  });
  if (state.problems.length > 0) {
    return off(
      'Invalid',
      state.previousInForce ? `the last valid version is enforced: ${acks}` : 'nothing of it is enforced',
    );
  }
  if (progress.conflicts && progress.conflicts.length > 0)
    return off('Conflict', `${formatProblems(progress.conflicts)} (${acks})`);
  if (state.unenforced.length > 0)
    return off('PartlyUnenforced', `${formatProblems(state.unenforced)} (${acks})`);
  if (error !== undefined) return off('NodeFailed', `${acks}; ${error}`);
  if (revision === undefined || acknowledged < nodes) return off('Pending', acks);
  return { type: 'Enforced', status: 'True', reason: 'Acknowledged', message: acks };
}

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

/** Kinds whose status is ours to write. */
const RESOURCES: Partial<Record<PolicyKind, ResourceRef<KubeObject>>> = {
  CiliumNetworkPolicy: CILIUM_NETWORK_POLICIES,
  CiliumClusterwideNetworkPolicy: CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  ClusterNetworkPolicy: CLUSTER_NETWORK_POLICIES,
};

export interface StatusSource {
  states(): Iterable<PolicyObjectState>;
  object(id: PolicyName): KubeObject | undefined;
  progress(id: PolicyName): Progress;
  /** Only the leader writes. */
  active(): boolean;
}

/** Milliseconds that changes are gathered: the first acknowledgements usually fall into the same write. */
const GATHER_MS = 60;
const PARALLEL = 8;

/** Keeps the status of policy objects true; writes only what differs. */
export class StatusWriter {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #source: StatusSource;
  /** What was written last, until the watch shows it. */
  readonly #written = new Map<string, { uid: string; conditions: readonly Condition[] }>();
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;

  constructor(client: KubeClient, clock: Clock, log: Logger, source: StatusSource) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#source = source;
  }

  /** Something that a status says may have changed. */
  changed(): void {
    if (this.#running) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#run(), GATHER_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#running = true;
    this.#again = false;
    const jobs = this.#source.active() ? [...this.#source.states()] : [];
    let failed = false;
    const work = async (): Promise<void> => {
      for (let state = jobs.pop(); state; state = jobs.pop())
        failed = !(await this.#writeOne(state)) || failed;
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    this.#running = false;
    if (failed) this.#timer ??= setTimeout(() => void this.#run(), 1000);
    else if (this.#again) this.changed();
  }

  /** Resolves with false where it must be tried again. */
  async #writeOne(state: PolicyObjectState): Promise<boolean> {
    const { id } = state;
    const object = this.#source.object(id);
    const resource = RESOURCES[id.kind];
    if (!resource || !object) return true;
    const key = policyKey(id);
    const written = this.#written.get(key);
    const shown = (object as { status?: { conditions?: Condition[] } }).status?.conditions ?? [];
    const present = written?.uid === state.uid ? written.conditions : shown;
    const wanted = conditionsOf(state, this.#source.progress(id));
    const conditions = mergeConditions(
      present,
      wanted,
      new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, 'Z'),
    );
    if (!conditions) return true;
    try {
      const target = { name: id.name, namespace: id.namespace };
      const body = { status: { conditions } };
      await this.#client.patch(resource, target, 'merge', body, { subresource: 'status' });
      this.#written.set(key, { uid: state.uid, conditions });
      return true;
    } catch (error) {
      if ((error as { code?: number }).code === 404) return true;
      this.#log.warn({ ...id, error: errorMessage(error) }, 'status not written');
      return false;
    }
  }
}
