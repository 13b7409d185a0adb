// SPDX-License-Identifier: Apache-2.0

/** One measured figure. */
export interface BenchRow {
  /** Contains `same` or `across` where both exist. */
  readonly case: string;
  readonly unit: string;
  readonly ours: number;
  /** The other side's figure of the same run, null where nothing else ran. */
  readonly peer: number | null;
  readonly peerName: string | null;
  /** ours / peer */
  readonly ratio: number | null;
  /** Compared with `ratio` where there is one, else with `ours`; null where none is set. */
  readonly goal: number | null;
  readonly better: 'higher' | 'lower';
  readonly met: boolean | null;
}

export interface BenchOptions {
  /** A few rounds only: proves that the bench runs, its figures mean nothing. */
  readonly small: boolean;
  /** How long to let things settle first, where a bench does; each has a default. */
  readonly waitSeconds?: number;
  /** Progress for a human; never part of the result. */
  readonly log: (line: string) => void;
}

export interface Bench {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  run(options: BenchOptions): Promise<BenchRow[]>;
}

export type RowInput = Pick<BenchRow, 'case' | 'unit' | 'ours' | 'better'> & {
  readonly peer?: { readonly name: string; readonly value: number };
  readonly goal?: number;
};

/** Fills in ratio and verdict. */
export function benchRow(input: RowInput): BenchRow {
  const ratio = input.peer ? input.ours / input.peer.value : null;
  const judged = ratio ?? input.ours;
  const goal = input.goal ?? null;
  const met = goal === null ? null : input.better === 'higher' ? judged >= goal : judged <= goal;
  return {
    case: input.case,
    unit: input.unit,
    ours: input.ours,
    peer: input.peer?.value ?? null,
    peerName: input.peer?.name ?? null,
    ratio,
    goal,
    better: input.better,
    met,
  };
}

/** The middle value; mean of the two middle ones for an even number. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** With linear interpolation between neighbours. @param percent 0..100 */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  const place = ((sorted.length - 1) * percent) / 100;
  const low = sorted[Math.floor(place)];
  const high = sorted[Math.ceil(place)];
  if (low === undefined || high === undefined) throw new RangeError('percentile of no values');
  return low + (high - low) * (place - Math.floor(place));
}
