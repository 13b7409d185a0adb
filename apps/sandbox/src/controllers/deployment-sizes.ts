// SPDX-License-Identifier: Apache-2.0

type IntOrPercent = number | string | undefined;

/** A number or a percentage of `total`. @throws Error for other text */
export function resolveCount(
  value: IntOrPercent,
  total: number,
  roundUp: boolean,
  fallback: IntOrPercent,
): number {
  const given = value ?? fallback ?? 0;
  if (typeof given === 'number') return given;
  const match = /^(\d+)%$/.exec(given);
  if (!match) {
    if (/^\d+$/.test(given)) return Number(given);
    throw new Error(`neither a number nor a percentage: ${JSON.stringify(given)}`);
  }
  const exact = (Number(match[1]) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

/** How many pods a rolling update may have too many and too few; never both zero, or nothing could move. */
export function rollingBounds(
  replicas: number,
  maxSurge: IntOrPercent,
  maxUnavailable: IntOrPercent,
): { surge: number; unavailable: number } {
  const surge = resolveCount(maxSurge, replicas, true, '25%');
  const unavailable = resolveCount(maxUnavailable, replicas, false, '25%');
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : Math.min(unavailable, replicas) };
}

export interface SetSize {
  readonly name: string;
  /** spec.replicas */
  readonly wanted: number;
  /** status.availableReplicas */
  readonly available: number;
}

export interface RollingPlan {
  readonly fresh: number;
  readonly old: ReadonlyMap<string, number>;
}

/** The next sizes of the new and the old replica sets of a rolling update. `old` is ordered oldest first. */
export function planRolling(
  replicas: number,
  bounds: { surge: number; unavailable: number },
  fresh: SetSize,
  old: readonly SetSize[],
): RollingPlan {
  const total = fresh.wanted + old.reduce((sum, set) => sum + set.wanted, 0);
  let freshWanted = fresh.wanted;
  if (fresh.wanted > replicas) freshWanted = replicas;
  else {
    const room = Math.max(0, replicas + bounds.surge - total);
    freshWanted += Math.min(room, replicas - fresh.wanted);
  }
  // Scaling down waits until the mirror shows the scaled-up set: a plan moves in one direction at a time.
  const sizes = new Map(old.map((set) => [set.name, set.wanted]));
  if (freshWanted !== fresh.wanted) return { fresh: freshWanted, old: sizes };
  const minimum = replicas - bounds.unavailable;
  const freshUnavailable = Math.max(0, fresh.wanted - fresh.available);
  let budget = total - minimum - freshUnavailable;
  // Pods that do not work anyway go first; they cost no availability.
  for (const set of old) {
    if (budget <= 0) break;
    const broken = Math.min(budget, Math.max(0, set.wanted - set.available));
    sizes.set(set.name, set.wanted - broken);
    budget -= broken;
  }
  const available = fresh.available + old.reduce((sum, set) => sum + set.available, 0);
  let spare = Math.max(0, available - minimum);
  for (const set of old) {
    const wanted = sizes.get(set.name)!;
    const cut = Math.min(spare, wanted, Math.max(budget, 0));
    sizes.set(set.name, wanted - cut);
    spare -= cut;
    budget -= cut;
  }
  return { fresh: freshWanted, old: sizes };
}

/** Shares of a changed total among sets, in proportion to their sizes; used when a deployment is scaled mid-rollout. */
export function planProportional(total: number, sets: readonly SetSize[]): ReadonlyMap<string, number> {
  const current = sets.reduce((sum, set) => sum + set.wanted, 0);
  const shares = new Map<string, number>();
  let left = total;
  for (const set of sets) {
    const share = current === 0 ? 0 : Math.min(left, Math.round((set.wanted * total) / current));
    shares.set(set.name, share);
    left -= share;
  }
  const largest = [...sets].sort((a, b) => b.wanted - a.wanted)[0];
  if (largest && left > 0) shares.set(largest.name, shares.get(largest.name)! + left);
  return shares;
}
