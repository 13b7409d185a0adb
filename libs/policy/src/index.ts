// SPDX-License-Identifier: Apache-2.0
export {
  formatOriginObject,
  ruleSetIdOf,
  type CidrIdentity,
  type Direction,
  type Origin,
  type PolicyKind,
  type PolicyPublication,
  type PerDirection,
  type PolicyRevision,
  type RowVerdict,
  type RuleRow,
  type RuleSet,
  type RuleSetEntry,
  type Subject,
  type Tier,
  type Verdict,
} from './rule-set.ts';
export type { PolicySource, PolicySourceState } from './ports.ts';
export { conditionsOf, type Progress } from './status.ts';
export { formatProblem, formatProblems, type Problem } from './problem.ts';
export {
  policyKey,
  type ParsedPolicy,
  type ParseOptions,
  type PeerSelector,
  type PolicyName,
  type PortMatch,
  type ConditionTerm,
  type Rule,
  type RuleAction,
  type RuleItem,
} from './rule.ts';
export { AUDIT_ANNOTATION, parseCiliumPolicy, type ParseResult, type PolicyObject } from './parse-object.ts';
export { parseClusterPolicy } from './parse-cluster-policy.ts';
export { parseKubernetesPolicy } from './parse-kubernetes.ts';
export { parsePolicy } from './parse-policy.ts';
export { MapState, type MapChange, type Select } from './map-state.ts';
export { encodeEntry, encodeKey } from './entry-bytes.ts';
export { SelectorCache } from './selector-cache.ts';
export { type LabelSelector, type Requirement } from './selector.ts';
export { findConflicts } from './conflict.ts';
export { reviewPolicies, type Finding } from './review.ts';
export { yamlLines } from './yaml-lines.ts';
export { PolicyEngine, type EngineDelta, type EngineOptions, type EngineState } from './engine.ts';
export type { CidrGroupInput, ServiceInput } from './expansion.ts';
export type { PodPort, PodPorts } from './named-ports.ts';
export { lookup, type PolicyFlow } from './lookup.ts';
export { explainRuleSet, type ExplainedVerdict, type Explanation, type MatchedRule } from './explain.ts';
export {
  engineExplainSource,
  explainFlow,
  type ExplainEndpoint,
  type ExplainQuery,
  type ExplainSource,
  type FlowExplanation,
} from './explain-flow.ts';
export { nearestMiss, type NearestMiss } from './nearest-miss.ts';
export {
  contentHash,
  resolveRuleSet,
  type EnforcementMode,
  type OwnedItem,
  type ResolveWorld,
} from './resolve.ts';
export {
  ACK_BUCKET,
  COMPILER_BUCKET,
  HEAD_KEY,
  POLICY_BUCKET,
  SEMANTICS_VERSION,
  CLAIM_KEY,
  cidrKey,
  parseEpochKey,
  type Claim,
  compareRevisions,
  decodeRuleSet,
  decodeSubject,
  encodeRuleSet,
  encodeSubject,
  ruleSetKey,
  subjectKey,
  type Head,
  type NodeReport,
} from './publication.ts';
export {
  PolicyFeed,
  isOutside,
  type PodObject,
  type PolicyObjectState,
  type ServiceObject,
  type SliceObject,
  type WorldKind,
} from './feed.ts';
export { PublicationReader, type PublishedEntry } from './publication-reader.ts';
