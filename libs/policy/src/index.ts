// SPDX-License-Identifier: Apache-2.0
export {
  formatOriginObject,
  ruleSetIdOf,
  type CidrIdentity,
  type Direction,
  type Origin,
  type PolicyKind,
  type PolicyPublication,
  type PolicyRevision,
  type RuleSet,
  type RuleSetEntry,
  type Subject,
  type Verdict,
} from './rule-set.ts';
export type { PolicySource } from './ports.ts';
