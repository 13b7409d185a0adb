// SPDX-License-Identifier: Apache-2.0
// Why a flow passes or not, as `cilium policy explain` asks: names become identities here, the policy-compiler judges, and
// while it is away this node's own rule sets do.
import { AppError, errorMessage } from '@cilium-ts/base';
import { cidrLabels, parseLabel, reservedIdentity } from '@cilium-ts/identity';
import { isAddress, protocolNumber } from '@cilium-ts/net';
import { explainFlow, type ExplainEndpoint, type PolicyEngine, type RuleSet } from '@cilium-ts/policy';
import {
  ExplainRequest,
  ExplainResponse,
  PolicyCompilerDefinition,
  type AskedEndpoint,
  type Flow,
} from '@cilium-ts/proto';
import { RPC_STATUS, RpcClient, rpcMessage, rpcStatus } from '@cilium-ts/rpc';
import type { AgentTables } from '../rows.ts';

export interface ExplainPorts {
  readonly tables: Pick<AgentTables, 'endpoints' | 'addresses' | 'identities' | 'services'>;
  readonly cluster: string;
  /** `namespace/name` of the policy-compiler's Service. */
  readonly compilerService: string;
  /** The engine of an agent that compiles for itself. */
  readonly engine: () => PolicyEngine | undefined;
  readonly ruleSetOf: (identity: number, pod: string) => RuleSet | undefined;
  readonly identityOf: (address: string) => number | undefined;
  readonly flowOf: (uuid: string) => Flow | undefined;
}

export type ExplainAsk = Readonly<Partial<Record<string, string>>>;

const TIMEOUT_MS = 3000;
const HOST_IDENTITIES: Readonly<Record<string, number>> = {
  host: 1,
  world: 2,
  'remote-node': 6,
  'kube-apiserver': 7,
  init: 5,
  health: 4,
  unmanaged: 3,
};

/** @throws AppError `bad-request`, `unknown-endpoint`, `flow-not-found` */
export async function explainPolicy(ports: ExplainPorts, asked: ExplainAsk): Promise<unknown> {
  const request = asked['flow'] ? requestOfFlow(ports, asked['flow']) : requestOfNames(ports, asked);
  const engine = ports.engine();
  if (engine) {
    const { answerExplain } = await import('@cilium-ts/policy/text');
    return ExplainResponse.toJSON(ExplainResponse.fromPartial(answerExplain(engine, request) as never));
  }
  return ExplainResponse.toJSON(await askCompiler(ports, request));
}

async function askCompiler(ports: ExplainPorts, request: ExplainRequest): Promise<ExplainResponse> {
  let why = 'no policy-compiler is known';
  for (const address of compilers(ports)) {
    const client = new RpcClient(address);
    try {
      const { explain } = PolicyCompilerDefinition.methods;
      return await client.unary(PolicyCompilerDefinition, explain, request, { timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (rpcStatus(error) === RPC_STATUS.INVALID_ARGUMENT)
        throw new AppError('bad-request', rpcMessage(error));
      why = `${address}: ${errorMessage(error)}`;
    } finally {
      client.close();
    }
  }
  if (request.policies !== '')
    throw new AppError('compiler-away', `policies of a file need the policy-compiler (${why})`);
  const answer = ExplainResponse.fromPartial(explainHere(ports, request) as never);
  answer.notes.push(`answered from the rule sets of this node: the policy-compiler is away (${why})`);
  return answer;
}

function compilers({ tables, compilerService }: ExplainPorts): string[] {
  const rows = [...tables.services.values()].filter(
    (row) => `${row.namespace}/${row.name}` === compilerService,
  );
  return rows.flatMap(({ backends }) =>
    backends.map(({ address, port }) => (address.includes(':') ? `[${address}]` : address) + `:${port}`),
  );
}

function explainHere(ports: ExplainPorts, { source, destination, protocol, port }: ExplainRequest) {
  const endpoint = (side: AskedEndpoint | undefined): ExplainEndpoint => ({
    identity: side!.identity,
    labels: side!.address === '' ? labelsOf(ports, side!) : cidrLabels(prefixOf(side!.address)),
    ...(side!.pod === '' ? {} : { pod: side!.pod }),
  });
  const number = protocolNumber(protocol);
  if (number === undefined || !/^\d+$/.test(port))
    throw new AppError('bad-request', `port ${port}/${protocol}: without the policy-compiler use numbers`);
  const query = { source: endpoint(source), destination: endpoint(destination), protocol: number };
  const here = {
    ruleSetOf: ({ identity, pod }: ExplainEndpoint) => ports.ruleSetOf(identity, pod ?? ''),
    namedPorts: () => [],
  };
  return explainFlow(here, { ...query, port: Number(port) });
}

function labelsOf({ tables }: ExplainPorts, { identity, labels }: AskedEndpoint) {
  if (labels.length > 0) return labels.map((text) => parseLabel(text));
  const reserved = reservedIdentity(identity);
  if (reserved) return reserved.labels;
  return (tables.identities.get(String(identity))?.labels ?? []).map((text) => parseLabel(text));
}

const prefixOf = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

function requestOfNames(ports: ExplainPorts, asked: ExplainAsk): ExplainRequest {
  const [port = '', protocol = 'TCP'] = (asked['port'] ?? '').split('/');
  return ExplainRequest.fromPartial({
    source: sideOf(ports, 'from', asked['from']),
    destination: sideOf(ports, 'to', asked['to']),
    port,
    protocol: protocol.toUpperCase() === 'ICMPV6' ? 'ICMPv6' : protocol.toUpperCase(),
    l7: asked['l7'] ?? '',
    policies: asked['policies'] ?? '',
    offline: asked['offline'] === 'true',
  });
}

/** `ns/pod`, `ns/key=value,...`, an address, or an entity. */
function sideOf(ports: ExplainPorts, name: string, text: string | undefined): AskedEndpoint {
  const side = { identity: 0, pod: '', labels: [] as string[], address: '' };
  if (!text) throw new AppError('bad-request', `--${name} is needed: namespace/pod, an address or an entity`);
  const { tables } = ports;
  if (isAddress(text)) return addressSide(ports, text);
  const entity = HOST_IDENTITIES[text];
  if (entity !== undefined) return { ...side, identity: entity };
  const [namespace = '', rest = ''] = text.split(/\/(.*)/s);
  if (rest.includes('=')) {
    const labels = rest.split(',').map((pair) => `k8s:${pair}`);
    const implied = {
      'io.kubernetes.pod.namespace': namespace,
      'io.cilium.k8s.policy.cluster': ports.cluster,
    };
    return { ...side, labels: [...labels, ...Object.entries(implied).map(([k, v]) => `k8s:${k}=${v}`)] };
  }
  const isIt = (row: { namespace: string; podName: string }): boolean =>
    row.namespace === namespace && row.podName === rest;
  const found = [...tables.endpoints.values()].find(isIt) ?? [...tables.addresses.values()].find(isIt);
  if (!found || rest === '') {
    const known = `namespace/pod, namespace/key=value, an address, or one of ${Object.keys(HOST_IDENTITIES).join(', ')}`;
    throw new AppError('unknown-endpoint', `--${name} ${text}: nothing of that name is known; use ${known}`);
  }
  return { ...side, identity: found.identity, pod: text };
}

function addressSide(ports: ExplainPorts, address: string): AskedEndpoint {
  const { tables } = ports;
  const side = { identity: 0, pod: '', labels: [] as string[], address: '' };
  const known = tables.endpoints.find('address', address)[0] ?? tables.addresses.get(address);
  if (known?.podName)
    return { ...side, identity: known.identity, pod: `${known.namespace}/${known.podName}` };
  const identity = known?.identity ?? ports.identityOf(address);
  if (identity !== undefined && identity < 0x100_0000 && identity !== 2) return { ...side, identity };
  return { ...side, address };
}

function requestOfFlow(ports: ExplainPorts, uuid: string): ExplainRequest {
  const flow = ports.flowOf(uuid);
  if (!flow) throw new AppError('flow-not-found', `flow ${uuid} is not (any more) among this node's flows`);
  const l4 = flow.l4?.protocol;
  const kind = l4?.$case ?? '';
  const isReply = flow.isReply === true;
  const value = (l4?.value ?? {}) as { sourcePort?: number; destinationPort?: number; type?: number };
  const port = (isReply ? value.sourcePort : value.destinationPort) ?? value.type ?? 0;
  const side = (endpoint: Flow['source'], address: string) => ({
    identity: endpoint?.identity ?? 0,
    pod: endpoint?.podName ? `${endpoint.namespace}/${endpoint.podName}` : '',
    labels: endpoint?.labels ?? [],
    ...(endpoint?.podName || endpoint?.labels.length ? {} : { address }),
  });
  const ends = [
    side(flow.source, flow.IP?.source ?? ''),
    side(flow.destination, flow.IP?.destination ?? ''),
  ] as const;
  const [source, destination] = isReply ? [ends[1], ends[0]] : ends;
  const protocol = kind === 'ICMPv4' ? 'ICMP' : kind;
  return ExplainRequest.fromPartial({ source, destination, protocol, port: String(port) });
}
