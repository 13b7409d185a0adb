// SPDX-License-Identifier: Apache-2.0
import { Type, type Static } from 'typebox';

const Address = Type.Object({
  ip: Type.String(),
  port: Type.Integer(),
  protocol: Type.String(),
  scope: Type.Optional(Type.String()),
});

const BackendAddress = Type.Object({
  ip: Type.String(),
  port: Type.Integer(),
  protocol: Type.String(),
  nodeName: Type.String(),
  state: Type.String(),
  weight: Type.Integer(),
  preferred: Type.Boolean(),
  zone: Type.String(),
});

const Spec = Type.Object({
  id: Type.Integer(),
  'frontend-address': Address,
  'backend-addresses': Type.Array(BackendAddress),
  flags: Type.Object({
    name: Type.String(),
    namespace: Type.String(),
    type: Type.String(),
    trafficPolicy: Type.String(),
    extTrafficPolicy: Type.String(),
    intTrafficPolicy: Type.String(),
    natPolicy: Type.String(),
    healthCheckNodePort: Type.Integer(),
    cluster: Type.String(),
  }),
});

export const ServiceSchema = Type.Object({ spec: Spec, status: Type.Object({ realized: Spec }) });
export type ServiceModel = Static<typeof ServiceSchema>;
