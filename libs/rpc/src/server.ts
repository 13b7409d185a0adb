// SPDX-License-Identifier: Apache-2.0
// gRPC servers: services by handlers of our own shape, health, reflection, unix and TCP addresses, an orderly end.
import { rmSync } from 'node:fs';
import {
  logVerbosity,
  Metadata,
  Server,
  ServerCredentials,
  setLogVerbosity,
  status,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerDuplexStream,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { AppError, errorMessage, type Logger, type Stoppable } from '@cilium-ts/base';
import {
  serviceDefinition,
  type AnyMethod,
  type RequestOf,
  type ResponseOf,
  type RpcDefinition,
} from './definition.ts';
import { listenTargets, unixPath } from './address.ts';

export interface CallInfo {
  /** Aborted when the client went away or the server stops. */
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
}

/** Messages to one client. */
export interface Outbox<T> extends CallInfo {
  /** False where the client is slow: await `drained` before the next. Bytes are sent as they are. */
  write(message: T | Uint8Array): boolean;
  /** Resolves when the client has caught up, or is gone. */
  drained(): Promise<void>;
}

export type UnaryHandler<M> = (
  request: RequestOf<M>,
  call: CallInfo,
) => Promise<ResponseOf<M>> | ResponseOf<M>;
export type StreamHandler<M> = (request: RequestOf<M>, out: Outbox<ResponseOf<M>>) => Promise<void>;
export type DuplexHandler<M> = (request: RequestOf<M>) => ResponseOf<M>;

type HandlerOf<M> = M extends { readonly requestStream: true }
  ? DuplexHandler<M>
  : M extends { readonly responseStream: true }
    ? StreamHandler<M>
    : UnaryHandler<M>;

export type Handlers<D extends RpcDefinition> = {
  readonly [K in keyof D['methods']]: HandlerOf<D['methods'][K]>;
};

/** An answer with a status of its own; everything else that is thrown becomes UNKNOWN or INVALID_ARGUMENT. */
export class RpcError extends AppError {
  readonly status: number;

  constructor(code: number, message: string) {
    super(`grpc-${code}`, message);
    this.status = code;
  }
}

const INVALID = new Set(['bad-filter', 'bad-field-mask', 'bad-request']);

function statusOf(error: unknown): { code: number; details: string } {
  const details = errorMessage(error);
  if (error instanceof RpcError) return { code: error.status, details };
  if (error instanceof AppError && error.code === 'unsupported-filter')
    return { code: status.UNIMPLEMENTED, details };
  if (error instanceof AppError && INVALID.has(error.code)) return { code: status.INVALID_ARGUMENT, details };
  return { code: status.UNKNOWN, details };
}

export interface RpcServerOptions {
  /** Sent with every answer, for example `hubble-server-version`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly logger: Logger;
}

const GRACE_MS = 500;

// What fails is thrown and logged by us; plain lines between JSON ones would break readers.
if (process.env['GRPC_VERBOSITY'] === undefined) setLogVerbosity(logVerbosity.NONE);

export class RpcServer implements Stoppable {
  readonly #server: Server;
  readonly #headers: Metadata;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  readonly #sockets: string[] = [];
  readonly #services: string[] = [];

  constructor(options: RpcServerOptions) {
    this.#server = new Server({ 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 });
    this.#headers = new Metadata();
    for (const [name, value] of Object.entries(options.headers ?? {})) this.#headers.set(name, value);
    this.#logger = options.logger;
  }

  get services(): readonly string[] {
    return this.#services;
  }

  addService<D extends RpcDefinition>(definition: D, handlers: Handlers<D>): void {
    const implementation: Record<string, unknown> = {};
    for (const [name, method] of Object.entries(definition.methods)) {
      implementation[name] = this.#implement(method, handlers[name] as unknown);
    }
    this.#server.addService(serviceDefinition(definition), implementation as never);
    this.#services.push(definition.fullName);
  }

  #implement(method: AnyMethod, handler: unknown): unknown {
    if (method.requestStream) return this.#duplex(handler as DuplexHandler<AnyMethod>);
    if (method.responseStream) return this.#stream(handler as StreamHandler<AnyMethod>);
    return this.#unary(handler as UnaryHandler<AnyMethod>);
  }

  #unary(handler: UnaryHandler<AnyMethod>): handleUnaryCall<unknown, unknown> {
    return (call, callback) => {
      call.sendMetadata(this.#headers);
      const info = { signal: this.#stopping.signal, metadata: call.metadata };
      Promise.resolve()
        .then(() => handler(call.request as never, info))
        .then(
          (response) => callback(null, response),
          (error: unknown) => callback(statusOf(error)),
        );
    };
  }

  #stream(handler: StreamHandler<AnyMethod>): handleServerStreamingCall<unknown, unknown> {
    return (call) => {
      call.sendMetadata(this.#headers);
      const out = outbox(call, this.#stopping.signal);
      Promise.resolve()
        .then(() => handler(call.request as never, out))
        .then(
          () => call.end(),
          (error: unknown) => call.emit('error', statusOf(error)),
        );
    };
  }

  #duplex(handler: DuplexHandler<AnyMethod>): (call: ServerDuplexStream<unknown, unknown>) => void {
    return (call) => {
      call.on('data', (request: unknown) => {
        try {
          call.write(handler(request as never));
        } catch (error) {
          call.emit('error', statusOf(error));
        }
      });
      call.on('end', () => call.end());
      call.on('error', () => undefined);
    };
  }

  /** `unix:///path`, `:port` or `host:port`; resolves to the port. A socket file left by an earlier run is replaced. */
  async listen(address: string): Promise<number> {
    const path = unixPath(address);
    if (path !== undefined) {
      rmSync(path, { force: true });
      this.#sockets.push(path);
    }
    let failure: unknown;
    for (const target of listenTargets(address)) {
      try {
        const port = await this.#bind(target);
        this.#logger.info({ address: target, services: this.#services }, 'gRPC server listens');
        return port;
      } catch (error) {
        failure = error;
      }
    }
    throw new AppError(
      'listen',
      `cannot listen on ${address}: ${errorMessage(failure)}`,
      { address },
      failure,
    );
  }

  #bind(target: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  }

  /** Streams are told to end and get half a second. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, GRACE_MS);
      this.#server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    for (const path of this.#sockets) rmSync(path, { force: true });
  }
}

function outbox<T>(call: ServerWritableStream<unknown, T>, stopping: AbortSignal): Outbox<T> {
  const gone = new AbortController();
  const end = (): void => gone.abort();
  call.on('cancelled', end);
  call.on('close', end);
  call.on('error', end);
  call.on('finish', end);
  const signal = AbortSignal.any([gone.signal, stopping]);
  return {
    signal,
    metadata: call.metadata,
    write: (message) => signal.aborted || call.write(message as T),
    drained: () =>
      new Promise((resolve) => {
        if (signal.aborted || !call.writableNeedDrain) return resolve();
        const done = (): void => {
          call.off('drain', done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        call.on('drain', done);
        signal.addEventListener('abort', done);
      }),
  };
}
