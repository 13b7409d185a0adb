// SPDX-License-Identifier: Apache-2.0
import { Type, type Static } from 'typebox';

const State = Type.Object({ state: Type.String(), msg: Type.String() });

export const ControllerSchema = Type.Object({
  name: Type.String(),
  /** Rows wanted, written and waiting. */
  wanted: Type.Integer(),
  written: Type.Integer(),
  pending: Type.Integer(),
  'consecutive-failures': Type.Integer(),
  'last-error': Type.String(),
});

export const StatusSchema = Type.Object({
  cilium: State,
  kubernetes: State,
  'policy-source': State,
  policy: Type.Object({ revision: Type.Integer(), epoch: Type.Integer(), error: Type.String() }),
  version: Type.String(),
  'node-name': Type.String(),
  'kernel-version': Type.String(),
  'uptime-seconds': Type.Integer(),
  'kube-proxy-replacement': Type.Object({
    mode: Type.String(),
    devices: Type.Array(Type.String()),
    'socket-lb': Type.String(),
    'xdp-acceleration': Type.String(),
    services: Type.Integer(),
  }),
  cni: Type.Object({
    chaining: Type.String(),
    /** Empty where none is to be written. */
    'config-file': Type.String(),
    /** It is there now. */
    'config-present': Type.Boolean(),
  }),
  'host-firewall': Type.String(),
  'node-monitor': Type.Object({
    cpus: Type.Integer(),
    events: Type.Integer(),
    lost: Type.Integer(),
    listeners: Type.Integer(),
  }),
  ipam: Type.Object({
    pools: Type.Array(
      Type.Object({
        cidr: Type.String(),
        family: Type.Integer(),
        allocated: Type.Integer(),
        size: Type.Integer(),
      }),
    ),
    allocations: Type.Record(Type.String(), Type.String()),
  }),
  routing: Type.Object({ mode: Type.String(), host: Type.String() }),
  'attach-mode': Type.String(),
  masquerading: Type.Object({
    mode: Type.String(),
    ipv4: Type.Boolean(),
    ipv6: Type.Boolean(),
    cidrs: Type.Array(Type.String()),
  }),
  controllers: Type.Array(ControllerSchema),
  'identity-range': Type.Object({ min: Type.Integer(), max: Type.Integer() }),
  hubble: Type.Object({
    state: Type.String(),
    'current-flows': Type.Integer(),
    'max-flows': Type.Integer(),
    'flows-per-second': Type.Number(),
    metrics: Type.String(),
  }),
  nodes: Type.Array(Type.Object({ name: Type.String(), addresses: Type.Array(Type.String()) })),
  endpoints: Type.Integer(),
  identities: Type.Integer(),
  fallbacks: Type.Array(Type.String()),
  'replaced-maps': Type.Array(Type.String()),
  'unknown-configuration-keys': Type.Array(Type.String()),
  'configuration-warnings': Type.Array(Type.String()),
  'bpf-maps': Type.Array(Type.Object({ name: Type.String(), size: Type.Integer() })),
});

export type StatusModel = Static<typeof StatusSchema>;
export type ControllerModel = Static<typeof ControllerSchema>;
