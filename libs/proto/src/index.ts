// SPDX-License-Identifier: Apache-2.0
export {
  AgentEventType,
  AuthType,
  DebugCapturePoint,
  DropReason,
  dropReasonFromJSON,
  dropReasonToJSON,
  Flow,
  FlowFilter,
  FlowType,
  IPVersion,
  LostEvent,
  LostEventSource,
  SocketTranslationPoint,
  TraceObservationPoint,
  traceObservationPointToJSON,
  TraceReason,
  TrafficDirection,
  trafficDirectionFromJSON,
  trafficDirectionToJSON,
  Verdict,
  verdictFromJSON,
  verdictToJSON,
  type Endpoint,
  type EventTypeFilter,
  type FlowFilter_Experimental,
  type IP,
  type Layer4,
  type Policy,
  type Service,
  type TCPFlags,
  type Workload,
} from './generated/flow/flow.ts';
export {
  GetFlowsRequest,
  GetFlowsResponse,
  GetNamespacesResponse,
  GetNodesResponse,
  ObserverDefinition,
  ServerStatusResponse,
  type GetAgentEventsRequest,
  type GetAgentEventsResponse,
  type GetDebugEventsResponse,
  type Namespace,
  type Node,
} from './generated/observer/observer.ts';
export {
  ChangeNotification,
  ChangeNotificationType,
  changeNotificationTypeToJSON,
  PeerDefinition,
} from './generated/peer/peer.ts';
export { NodeState, nodeStateToJSON, type NodeStatusEvent } from './generated/relay/relay.ts';
export {
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
  type HealthCheckRequest,
  type HealthCheckResponse,
} from './generated/grpc/health/health.ts';
export {
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from './generated/grpc/reflection/v1/reflection.ts';
export { ServerReflectionDefinition as ServerReflectionAlphaDefinition } from './generated/grpc/reflection/v1alpha/reflection.ts';
export {
  ExplainRequest,
  ExplainResponse,
  PolicyCompilerDefinition,
  SyncResponse,
  type DirectionAnswer,
  type Endpoint as AskedEndpoint,
  type NodeReport as CompilerNodeReport,
  type Origin as PolicyOrigin,
  type Problem as CompilerProblem,
  type StatusResponse as CompilerStatus,
  type SyncRequest,
  type ValidatedObject,
  type ValidateResponse,
} from './generated/compiler/policy.ts';
export { PolicyDecision } from './generated/flow/explanation.ts';
export { DESCRIPTOR_SET } from './generated/descriptor-set.ts';
export type { Timestamp } from './generated/google/protobuf/timestamp.ts';
