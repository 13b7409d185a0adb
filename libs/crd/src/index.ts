// SPDX-License-Identifier: Apache-2.0
export { CILIUM_GROUP, KINDS, type KindDefinition, type PrinterColumn } from './kinds.ts';
export { crdFileName, crdManifest } from './manifest.ts';
export type { JsonSchema } from './schema.ts';
export type {
  CiliumCIDRGroup,
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNode,
  CiliumPolicyObject,
  Condition,
  NamedPort,
  ObjectMeta,
  OwnerReference,
} from './types.ts';
