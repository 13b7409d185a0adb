// SPDX-License-Identifier: Apache-2.0
import { Type, type Static } from 'typebox';
import { IdentitySchema } from './endpoint.schema.ts';

export const CniCallSchema = Type.Object({
  env: Type.Record(Type.String(), Type.String()),
  config: Type.String(),
});
export type CniCallModel = Static<typeof CniCallSchema>;

export const EndpointConfigSchema = Type.Object({ options: Type.Record(Type.String(), Type.String()) });
export type EndpointConfigModel = Static<typeof EndpointConfigSchema>;

export const PolicySchema = Type.Object({ policy: Type.String(), revision: Type.Integer() });
export type PolicyModel = Static<typeof PolicySchema>;

export const SelectorSchema = Type.Object({
  selector: Type.String(),
  labels: Type.Array(Type.Object({ key: Type.String(), value: Type.String(), source: Type.String() })),
  identities: Type.Array(Type.Integer()),
  users: Type.Integer(),
});
export type SelectorModel = Static<typeof SelectorSchema>;

export const IpSchema = Type.Object({
  cidr: Type.String(),
  identity: Type.Integer(),
  hostIP: Type.String(),
  encryptKey: Type.Integer(),
  metadata: Type.Object({ source: Type.String(), namespace: Type.String(), name: Type.String() }),
});
export type IpModel = Static<typeof IpSchema>;

export const NodeSchema = Type.Object({
  name: Type.String(),
  addresses: Type.Array(Type.String()),
  'pod-cidrs': Type.Array(Type.String()),
  source: Type.String(),
  local: Type.Boolean(),
});
export type NodeModel = Static<typeof NodeSchema>;

export const IdentityUseSchema = Type.Object({ identity: IdentitySchema, refCount: Type.Integer() });
export type IdentityUseModel = Static<typeof IdentityUseSchema>;

export const MapSchema = Type.Object({
  name: Type.String(),
  type: Type.String(),
  'num-entries': Type.Integer(),
  'max-entries': Type.Integer(),
  'cache-enabled': Type.Boolean(),
});
export type MapModel = Static<typeof MapSchema>;

export const MetricSchema = Type.Object({
  name: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  value: Type.Number(),
});
export type MetricModel = Static<typeof MetricSchema>;

export const ConfigSchema = Type.Object({
  values: Type.Record(Type.String(), Type.String()),
  unknown: Type.Array(Type.String()),
  warnings: Type.Array(Type.String()),
});
export type ConfigModel = Static<typeof ConfigSchema>;

export const ErrorSchema = Type.Object({ code: Type.String(), message: Type.String() });
export type ErrorModel = Static<typeof ErrorSchema>;

/** One line of the monitor stream. */
export const MonitorEventSchema = Type.Object({
  type: Type.Union([
    Type.Literal('drop'),
    Type.Literal('trace'),
    Type.Literal('policy-verdict'),
    Type.Literal('lost'),
  ]),
  cpu: Type.String(),
  mark: Type.String(),
  reason: Type.Optional(Type.String()),
  observationPoint: Type.Optional(Type.String()),
  verdict: Type.Optional(Type.String()),
  direction: Type.Optional(Type.String()),
  matchType: Type.Optional(Type.String()),
  policy: Type.Optional(Type.String()),
  state: Type.Optional(Type.String()),
  source: Type.Integer(),
  bytes: Type.Integer(),
  srcLabel: Type.Integer(),
  dstLabel: Type.Integer(),
  dstID: Type.Integer(),
  Line: Type.Integer(),
  File: Type.String(),
  ExtError: Type.Integer(),
  Ifindex: Type.Integer(),
  summary: Type.Object({
    text: Type.String(),
    l3: Type.Object({ src: Type.String(), dst: Type.String() }),
    l4: Type.Object({ src: Type.String(), dst: Type.String(), protocol: Type.String() }),
  }),
  count: Type.Optional(Type.Integer()),
});
export type MonitorEventModel = Static<typeof MonitorEventSchema>;
