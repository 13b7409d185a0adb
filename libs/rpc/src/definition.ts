// SPDX-License-Identifier: Apache-2.0
// Generated service definitions know no transport; here they become gRPC's.
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

export interface MessageType<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

export interface RpcMethod<Request, Response> {
  readonly name: string;
  readonly requestType: MessageType<Request>;
  readonly requestStream: boolean;
  readonly responseType: MessageType<Response>;
  readonly responseStream: boolean;
}

// A method's types vary in both directions, so the set of all methods has no tighter bound.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyMethod = RpcMethod<any, any>;

export interface RpcDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, AnyMethod>>;
}

export type RequestOf<M> = M extends { readonly requestType: MessageType<infer Request> } ? Request : never;
export type ResponseOf<M> = M extends { readonly responseType: MessageType<infer Response> }
  ? Response
  : never;

export const methodPath = (definition: RpcDefinition, method: AnyMethod): string =>
  `/${definition.fullName}/${method.name}`;

/** Bytes pass as they are: what comes encoded (a cache, a relay) is not encoded again. */
export function serializer<T>(type: MessageType<T>): (message: T | Uint8Array) => Buffer {
  return (message) => {
    const bytes = message instanceof Uint8Array ? message : type.encode(message).finish();
    return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function methodDefinition(definition: RpcDefinition, method: AnyMethod): MethodDefinition<unknown, unknown> {
  return {
    path: methodPath(definition, method),
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    requestSerialize: serializer(method.requestType),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: serializer(method.responseType),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  };
}

export function serviceDefinition(definition: RpcDefinition): ServiceDefinition {
  const entries = Object.entries(definition.methods).map(([name, method]) => [
    name,
    methodDefinition(definition, method),
  ]);
  return Object.fromEntries(entries) as ServiceDefinition;
}
