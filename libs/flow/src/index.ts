// SPDX-License-Identifier: Apache-2.0
export type {
  EventSource,
  FlowDecision,
  FlowEndpoint,
  FlowEventBatch,
  FlowLookups,
  FlowService,
} from './ports.ts';
export {
  buildFlow,
  flowUuid,
  deniedReason,
  takeRecord,
  timestamp,
  type FlowFacts,
  type FlowRecord,
} from './decode.ts';
export { dropText, isPolicyDrop } from './drop-text.ts';
export { flagNames, portsOf, summarize } from './layer4.ts';
export { deniedBy, deniedBySuffix, formatPolicy } from './policy-names.ts';
export { POLICY_DECISION_TYPE, policyDecisionOf } from './policy-decision.ts';
export { compileFilter, compileFilters, type FlowPredicate } from './filter.ts';
export { labelSelector } from './label-selector.ts';
export { compileMask } from './mask.ts';
export { formatTime, TIME_FORMATS, timestampMs, type TimeFormat } from './time-format.ts';
export {
  decidedByText,
  EVENT,
  hostPort,
  identityText,
  OBSERVATION_POINTS,
  safeText,
  sidesOf,
  typeText,
  verdictText,
  type NameOptions,
  type Side,
} from './render.ts';
export { reservedIdentityName, reservedIdentityNumber } from './reserved.ts';
export {
  compactFlow,
  dictFlow,
  jsonResponse,
  lostText,
  nodeStatusText,
  OUTPUT_FORMATS,
  tableFlow,
  tableHead,
  type OutputFormat,
  type PrintOptions,
} from './printer.ts';
