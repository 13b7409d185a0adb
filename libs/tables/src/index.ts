// SPDX-License-Identifier: Apache-2.0
export { Table, type TableChange, type TableListener, type TableOptions, type TableReader } from './table.ts';
export {
  Reconciler,
  type ReconcilerOptions,
  type ReconcilerStatus,
  type ReconcileTarget,
} from './reconciler.ts';
export { Trigger } from './trigger.ts';
