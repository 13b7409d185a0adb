// SPDX-License-Identifier: Apache-2.0
export { Metadata as RpcMetadata } from '@grpc/grpc-js';
export { dialTarget, listenTargets, unixPath } from './address.ts';
export {
  RPC_STATUS,
  RpcClient,
  rpcMessage,
  rpcStatus,
  type CallOptions,
  type ChannelState,
} from './client.ts';
export type { AnyMethod, RequestOf, ResponseOf, RpcDefinition } from './definition.ts';
export { addHealth, pause } from './health.ts';
export { addReflection } from './reflection.ts';
export {
  RpcError,
  RpcServer,
  type CallInfo,
  type Handlers,
  type Outbox,
  type RpcServerOptions,
} from './server.ts';
