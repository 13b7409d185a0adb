// SPDX-License-Identifier: Apache-2.0
import type { PolicyPublication, PolicyRevision } from './rule-set.ts';

/** Where an agent gets compiled policy from. */
export interface PolicySource {
  /**
   * Calls `onUpdate` with a snapshot first and deltas after that; again with a snapshot after each loss of contact.
   * An update is complete: everything it refers to is in it or in an earlier one. While the source is out of reach
   * there is no update, and what was given stays in force.
   */
  start(onUpdate: (publication: PolicyPublication) => void): void;
  /** Says that everything up to this revision is in the kernel; `error` says why the newest could not be realised. */
  acknowledge(at: PolicyRevision, error?: string): void;
  /** For status output: `ok`, or what is wrong. */
  state(): PolicySourceState;
  stop(): Promise<void>;
}

export interface PolicySourceState {
  readonly kind: 'nats' | 'embedded';
  readonly connected: boolean;
  readonly detail: string;
  /** Why the newest publication cannot be used; what was given before stays in force. */
  readonly damage?: string;
}
