// SPDX-License-Identifier: Apache-2.0
// What the status of a policy object should say.
import type { Condition } from '@cilium-ts/crd';
import type { PolicyObjectState } from './feed.ts';
import { formatProblems, type Problem } from './problem.ts';

/** How far the nodes are with an object. */
export interface Progress {
  /** Undefined: not published yet; then `acknowledged` does not count. */
  readonly revision: number | undefined;
  readonly acknowledged: number;
  readonly nodes: number;
  /** Who counts the nodes, where that is not the compiler: ` (seen from node1)`. */
  readonly seenFrom?: string | undefined;
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
  const { revision, acknowledged, nodes, error, seenFrom = '' } = progress;
  const acks =
    revision === undefined
      ? 'not published yet'
      : `revision ${revision} acknowledged by ${acknowledged}/${nodes} nodes${seenFrom}`;
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
