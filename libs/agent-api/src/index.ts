// SPDX-License-Identifier: Apache-2.0
export {
  EndpointPolicySchema,
  EndpointSchema,
  EndpointStatusPolicySchema,
  IdentitySchema,
  type EndpointHealthModel,
  type EndpointModel,
  type EndpointPolicyModel,
  type IdentityModel,
  type L4RuleModel,
} from './endpoint.schema.ts';
export { ServiceSchema, type ServiceModel } from './service.schema.ts';
export { ControllerSchema, StatusSchema, type ControllerModel, type StatusModel } from './status.schema.ts';
export {
  CniCallSchema,
  EndpointConfigSchema,
  ConfigSchema,
  ErrorSchema,
  IdentityUseSchema,
  IpSchema,
  MapSchema,
  MetricSchema,
  MonitorEventSchema,
  NodeSchema,
  PolicySchema,
  SelectorSchema,
  type CniCallModel,
  type EndpointConfigModel,
  type ConfigModel,
  type ErrorModel,
  type IdentityUseModel,
  type IpModel,
  type MapModel,
  type MetricModel,
  type MonitorEventModel,
  type NodeModel,
  type PolicyModel,
  type SelectorModel,
} from './small.schema.ts';
export {
  directionText,
  DROP_REASON_TEXTS,
  dropReasonText,
  forwardedMetric,
  sourceFileText,
} from './names.ts';
