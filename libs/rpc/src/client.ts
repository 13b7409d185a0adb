// SPDX-License-Identifier: Apache-2.0
import {
  Client,
  connectivityState,
  credentials,
  Metadata,
  status,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { AppError, errorMessage } from '@cilium-ts/base';
import { dialTarget } from './address.ts';
import {
  methodPath,
  serializer,
  type AnyMethod,
  type RequestOf,
  type ResponseOf,
  type RpcDefinition,
} from './definition.ts';

export const RPC_STATUS = status;

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly metadata?: Metadata;
  readonly signal?: AbortSignal;
}

export type ChannelState = 'idle' | 'connecting' | 'ready' | 'transient-failure' | 'shutdown';

const STATES: Readonly<Record<number, ChannelState>> = {
  [connectivityState.IDLE]: 'idle',
  [connectivityState.CONNECTING]: 'connecting',
  [connectivityState.READY]: 'ready',
  [connectivityState.TRANSIENT_FAILURE]: 'transient-failure',
  [connectivityState.SHUTDOWN]: 'shutdown',
};

/** Reconnects within a second; a dead peer is noticed within some seconds. */
const CHANNEL_OPTIONS = {
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.min_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.keepalive_time_ms': 5000,
  'grpc.keepalive_timeout_ms': 3000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
};

/** gRPC's status of a failed call; undefined for other errors. */
export function rpcStatus(error: unknown): number | undefined {
  const code = (error as Partial<ServiceError> | undefined)?.code;
  return error instanceof Error && typeof code === 'number' ? code : undefined;
}

/** What happened, without the number that gRPC puts in front. */
export function rpcMessage(error: unknown): string {
  const details = (error as Partial<ServiceError> | undefined)?.details;
  return typeof details === 'string' && details !== '' ? details : errorMessage(error);
}

export class RpcClient {
  readonly address: string;
  readonly #client: Client;
  #closed = false;

  /** Connects when first used. @throws AppError `tls-unsupported` */
  constructor(address: string) {
    this.address = address;
    this.#client = new Client(dialTarget(address), credentials.createInsecure(), CHANNEL_OPTIONS);
  }

  get state(): ChannelState {
    if (this.#closed) return 'shutdown';
    return STATES[this.#client.getChannel().getConnectivityState(false)] ?? 'idle';
  }

  /** Starts to connect; does not wait. */
  connect(): void {
    if (!this.#closed) this.#client.getChannel().getConnectivityState(true);
  }

  /** Calls back once, at the next change of `state` or after `timeoutMs`. */
  async whenChanged(timeoutMs: number): Promise<void> {
    if (this.#closed) return;
    const channel = this.#client.getChannel();
    const present = channel.getConnectivityState(true);
    await new Promise<void>((resolve) => {
      channel.watchConnectivityState(present, Date.now() + timeoutMs, () => resolve());
    });
  }

  /** @throws AppError `unreachable` */
  async waitReady(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (error) => {
        if (!error) return resolve();
        reject(new AppError('unreachable', `cannot connect to ${this.address} within ${timeoutMs / 1000} s`));
      });
    });
  }

  async unary<M extends AnyMethod>(
    definition: RpcDefinition,
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): Promise<ResponseOf<M>> {
    return (await this.unaryWithHeaders(definition, method, request, options)).response;
  }

  async unaryWithHeaders<M extends AnyMethod>(
    definition: RpcDefinition,
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): Promise<{ response: ResponseOf<M>; headers: Metadata }> {
    const settings = options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
    return new Promise((resolve, reject) => {
      let headers = new Metadata();
      const call = this.#client.makeUnaryRequest<RequestOf<M>, ResponseOf<M>>(
        methodPath(definition, method),
        serializer(method.requestType),
        (bytes) => method.responseType.decode(bytes) as ResponseOf<M>,
        request,
        options.metadata ?? new Metadata(),
        settings,
        (error, response) =>
          error ? reject(error) : resolve({ response: response as ResponseOf<M>, headers }),
      );
      call.on('metadata', (received: Metadata) => (headers = received));
      options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
    });
  }

  /** Messages as they come, with back-pressure; `signal` ends it. Iterate, or use it as a stream. */
  stream<M extends AnyMethod>(
    definition: RpcDefinition,
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): ClientReadableStream<ResponseOf<M>> {
    return this.#open(
      definition,
      method,
      request,
      options,
      (bytes) => method.responseType.decode(bytes) as ResponseOf<M>,
    );
  }

  /** The same without decoding: what we do not know of newer peers is passed on. */
  rawStream<M extends AnyMethod>(
    definition: RpcDefinition,
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): ClientReadableStream<Buffer> {
    return this.#open(definition, method, request, options, (bytes) => bytes);
  }

  #open<M extends AnyMethod, T>(
    definition: RpcDefinition,
    method: M,
    request: RequestOf<M>,
    options: CallOptions,
    decode: (bytes: Buffer) => T,
  ): ClientReadableStream<T> {
    const call = this.#client.makeServerStreamRequest<RequestOf<M>, T>(
      methodPath(definition, method),
      serializer(method.requestType),
      decode,
      request,
      options.metadata ?? new Metadata(),
    );
    const { signal } = options;
    if (signal?.aborted) call.cancel();
    else signal?.addEventListener('abort', () => call.cancel(), { once: true });
    return call;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.close();
  }
}
