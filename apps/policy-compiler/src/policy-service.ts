// SPDX-License-Identifier: Apache-2.0
// The compiler's gRPC service. Messages: libs/proto/proto/compiler/policy.proto.
import type { Logger } from '@cilium-ts/base';
import { AppError } from '@cilium-ts/base';
import { compareRevisions, type NodeReport, type PolicyRevision } from '@cilium-ts/policy';
import { answerExplain } from '@cilium-ts/policy/text';
import {
  ExplainResponse,
  PolicyCompilerDefinition,
  type CompilerNodeReport,
  type CompilerStatus,
} from '@cilium-ts/proto';
import { RpcServer, addHealth, addReflection, type Handlers } from '@cilium-ts/rpc';
import type { Compiler } from './compiler.ts';
import { syncNode } from './policy-service-sync.ts';
import { validateText } from './policy-service-validate.ts';

export class PolicyService {
  readonly #server: RpcServer;
  readonly #compiler: Compiler;

  constructor(compiler: Compiler, logger: Logger) {
    this.#compiler = compiler;
    this.#server = new RpcServer({ logger });
    this.#server.addService(PolicyCompilerDefinition, this.#handlers());
    addHealth(this.#server, [PolicyCompilerDefinition.fullName], () => compiler.ready);
    addReflection(this.#server);
  }

  /** Resolves to the port; rejects where the address is taken. */
  start(address: string): Promise<number> {
    return this.#server.listen(address);
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  #handlers(): Handlers<typeof PolicyCompilerDefinition> {
    const compiler = this.#compiler;
    return {
      validate: ({ text }) => validateText(text, compiler.engine.options),
      // Fields of the same names; the message's type only lacks readonly.
      explain: (request) => ExplainResponse.fromPartial(answerExplain(compiler.engine, request) as never),
      sync: (request, out) => syncNode(compiler.published, request, out),
      report: (report) => {
        compiler.report(readReport(report, compiler.revision));
        return {};
      },
      status: () => this.#status(),
    };
  }

  #status(): CompilerStatus {
    const { leading, connected, ready, revision, reports, nodes } = this.#compiler;
    return {
      leading,
      connected,
      ready,
      epoch: BigInt(revision.epoch),
      revision: BigInt(revision.revision),
      nodes: [...nodes],
      reports: [...reports.values()].map(writeReport),
    };
  }
}

/** @throws AppError `bad-request` for what cannot be an acknowledgement of this compiler's work */
function readReport(report: CompilerNodeReport, at: PolicyRevision): NodeReport {
  const { node, error, entries, mapPressure } = report;
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(node))
    throw new AppError('bad-request', `node ${JSON.stringify(node)} is not the name of a node`);
  const said = { epoch: Number(report.epoch), revision: Number(report.revision) };
  if (compareRevisions(said, at) > 0)
    throw new AppError(
      'bad-request',
      `epoch ${said.epoch} revision ${said.revision} is newer than this compiler's epoch ${at.epoch} revision ${at.revision}`,
    );
  return { node, ...said, ...(error === '' ? {} : { error }), entries, mapPressure };
}

function writeReport({ node, epoch, revision, error, entries, mapPressure }: NodeReport): CompilerNodeReport {
  const at = { epoch: BigInt(epoch), revision: BigInt(revision) };
  return { node, ...at, error: error ?? '', entries: { ...entries }, mapPressure: mapPressure ?? 0 };
}
