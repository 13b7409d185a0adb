// SPDX-License-Identifier: Apache-2.0
// The compiler's questions and answers over gRPC. Messages are described in libs/proto/proto/compiler/policy.proto.
import {
  Server,
  ServerCredentials,
  status,
  type handleUnaryCall,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { AppError, errorMessage } from '@cilium-ts/base';
import { protocolNumber } from '@cilium-ts/net';
import {
  explain,
  parseCiliumPolicy,
  parseKubernetesPolicy,
  type Direction,
  type PolicyObject,
} from '@cilium-ts/policy';
import type { Compiler } from './compiler.ts';
import { decodeText, encodeText } from './text-message.ts';

type Handler = (request: unknown) => unknown;

const PATH = '/cilium_ts.compiler.v1.PolicyCompiler/';

function method(name: string): ServiceDefinition[string] {
  return {
    path: PATH + name,
    requestStream: false,
    responseStream: false,
    requestSerialize: encodeText,
    requestDeserialize: decodeText,
    responseSerialize: encodeText,
    responseDeserialize: decodeText,
  };
}

export const POLICY_COMPILER_SERVICE: ServiceDefinition = {
  Validate: method('Validate'),
  Explain: method('Explain'),
  Status: method('Status'),
};

interface ExplainRequest {
  readonly identity?: number;
  readonly pod?: string;
  readonly remoteIdentity?: number;
  readonly direction?: string;
  readonly protocol?: string;
  readonly port?: number;
}

export class PolicyService {
  readonly #server = new Server();
  readonly #compiler: Compiler;

  constructor(compiler: Compiler) {
    this.#compiler = compiler;
    this.#server.addService(POLICY_COMPILER_SERVICE, {
      Validate: unary((request) => this.validate(request as PolicyObject)),
      Explain: unary((request) => this.explain(request as ExplainRequest)),
      Status: unary(() => this.status()),
    });
  }

  /** Rejects where the address is taken. */
  start(address: string): Promise<this> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(this),
      );
    });
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  /** Problems and unenforced parts of one object that need not be in the cluster. */
  validate(object: PolicyObject): object {
    const options = { cluster: 'default' };
    const known = ['CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy', 'NetworkPolicy'];
    if (!known.includes(object.kind ?? '')) {
      throw new AppError(
        'bad-request',
        `kind ${JSON.stringify(object.kind)} is not one of ${known.join(', ')}`,
      );
    }
    const parsed =
      object.kind === 'NetworkPolicy'
        ? parseKubernetesPolicy(object, options)
        : parseCiliumPolicy(object, options);
    return parsed.ok
      ? { valid: true, problems: [], unenforced: parsed.value.unenforced }
      : { valid: false, problems: parsed.error, unenforced: [] };
  }

  explain(request: ExplainRequest): object {
    const { identity, remoteIdentity, port, pod } = request;
    const direction = request.direction as Direction;
    const protocol = protocolNumber(request.protocol ?? 'TCP');
    if (
      identity === undefined ||
      remoteIdentity === undefined ||
      port === undefined ||
      protocol === undefined
    ) {
      throw new AppError('bad-request', 'identity, remoteIdentity, protocol and port are needed');
    }
    if (direction !== 'ingress' && direction !== 'egress') {
      throw new AppError(
        'bad-request',
        `direction ${JSON.stringify(direction)} is not one of ingress, egress`,
      );
    }
    const flow = { direction, identity: remoteIdentity, protocol, port };
    const answer = explain(this.#compiler.engine, identity, flow, pod);
    if (!answer) throw new AppError('bad-request', `identity ${identity} has no rule set`);
    return answer;
  }

  status(): object {
    const { leading, connected, ready, revision, reports, nodes } = this.#compiler;
    return { leading, connected, ready, ...revision, nodes: [...nodes], reports: [...reports.values()] };
  }
}

function unary(handler: Handler): handleUnaryCall<string, string> {
  return (call, callback) => {
    try {
      callback(null, JSON.stringify(handler(JSON.parse(call.request || '{}'))));
    } catch (error) {
      const code =
        error instanceof AppError || error instanceof SyntaxError ? status.INVALID_ARGUMENT : status.INTERNAL;
      callback({ code, details: errorMessage(error) });
    }
  };
}
