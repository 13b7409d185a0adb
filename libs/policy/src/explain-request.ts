// SPDX-License-Identifier: Apache-2.0
// A question as it comes over the wire, answered from an engine.
import { AppError } from '@cilium-ts/base';
import { cidrLabels, parseLabel, type Label } from '@cilium-ts/identity';
import { isAddress, protocolNumber } from '@cilium-ts/net';
import { PolicyEngine } from './engine.ts';
import {
  engineExplainSource,
  explainFlow,
  type ExplainEndpoint,
  type FlowExplanation,
} from './explain-flow.ts';
import type { Explanation } from './explain.ts';
import { judgeL7, parseL7Request, type L7Request } from './l7-request.ts';
import { originKey } from './origin.ts';
import { formatOriginObject } from './rule-set.ts';
import { policyKey, type ParsedPolicy, type UnenforcedCondition } from './rule.ts';
import { parsePolicyText } from './policy-text.ts';

/** By identity, by labels, or by an address outside of the cluster. */
export interface AskedEndpoint {
  /** 0: none. */
  readonly identity: number;
  readonly pod: string;
  readonly labels: readonly string[];
  readonly address: string;
}

export interface AskedFlow {
  readonly source: AskedEndpoint | undefined;
  readonly destination: AskedEndpoint | undefined;
  readonly protocol: string;
  /** A number or a name. */
  readonly port: string;
  /** YAML or JSON of policies that count as well. */
  readonly policies: string;
  /** Those policies alone. */
  readonly offline: boolean;
  /** `GET /x`, `DNS name`; empty for none. */
  readonly l7: string;
}

/** Numbers for endpoints that have labels only: the last ones of the cluster's scope. */
const MADE_UP = { source: 65_534, destination: 65_535 } as const;
const WORLD = 2;

/** @throws AppError `bad-request` naming what is missing or wrong */
export function answerExplain(engine: PolicyEngine, asked: AskedFlow): FlowExplanation {
  const more = policiesOf(asked.policies, engine);
  const source = endpointOf(engine, 'source', asked.source);
  const destination = endpointOf(engine, 'destination', asked.destination);
  const protocol = protocolNumber(asked.protocol === '' ? 'TCP' : asked.protocol);
  if (protocol === undefined) {
    const known = 'TCP, UDP, SCTP, ICMP, ICMPv6 or a number';
    throw new AppError('bad-request', `protocol ${JSON.stringify(asked.protocol)} is not one of ${known}`);
  }
  const query = { source, destination, protocol, port: portOf(asked.port) };
  const asking = asked.offline ? withoutPolicies(engine, [source, destination]) : engine;
  const answer = explainFlow(engineExplainSource(asking, more), query);
  if (asked.l7 === '') return answer;
  const policies = asked.offline ? more : [...asking.policies(), ...more];
  return { ...answer, notes: [...answer.notes, ...l7Notes(answer, asked.l7, policies)] };
}

function portOf(text: string): number | string {
  if (text === '') throw new AppError('bad-request', 'a port is needed: a number, or the name of one');
  if (!/^\d+$/.test(text)) return text;
  const port = Number(text);
  if (port > 65_535) throw new AppError('bad-request', `port ${text} is not between 0 and 65535`);
  return port;
}

function endpointOf(
  engine: PolicyEngine,
  side: 'source' | 'destination',
  asked: AskedEndpoint | undefined,
): ExplainEndpoint {
  const { identity = 0, pod = '', labels = [], address = '' } = asked ?? {};
  const named = pod === '' ? {} : { pod };
  if (labels.length > 0)
    return { identity: identity || MADE_UP[side], labels: labels.map((text) => parseLabel(text)), ...named };
  if (address !== '') {
    if (!isAddress(address)) throw new AppError('bad-request', `${side}: ${address} is not an IP address`);
    return {
      identity: identity || WORLD,
      labels: cidrLabels(`${address}/${address.includes(':') ? 128 : 32}`),
    };
  }
  if (identity === 0)
    throw new AppError('bad-request', `the ${side} needs an identity, labels or an address`);
  const known: readonly Label[] | undefined = engine.identities.get(identity);
  if (!known) throw new AppError('bad-request', `${side}: identity ${identity} is not known`);
  return { identity, labels: known, ...named };
}

function policiesOf(text: string, engine: PolicyEngine): ParsedPolicy[] {
  if (text === '') return [];
  const { cluster, hostFirewall } = engine.options;
  const policies = new Map<string, ParsedPolicy>();
  for (const { result, kind, name, lineOf } of parsePolicyText(text, { cluster, hostFirewall })) {
    if (!result.ok) {
      const [{ path, message }] = result.error as [(typeof result.error)[number]];
      throw new AppError('bad-request', `line ${lineOf(path)}: ${kind} ${name} ${path}: ${message}`);
    }
    policies.set(policyKey(result.value.id), result.value);
  }
  return [...policies.values()];
}

/** The same endpoints in a cluster without policies. */
function withoutPolicies(engine: PolicyEngine, endpoints: readonly ExplainEndpoint[]): PolicyEngine {
  const empty = new PolicyEngine(engine.options);
  for (const { identity, labels } of endpoints) empty.upsertIdentity(identity, labels);
  return empty;
}

/** What L7 rules would say of the request, for each side where one decides. */
function l7Notes(
  { directions }: FlowExplanation,
  text: string,
  policies: Iterable<ParsedPolicy>,
): readonly string[] {
  const request = parseL7Request(text);
  const conditional = directions.filter(({ verdict }) => verdict === 'unenforced');
  if (conditional.length === 0)
    return [`${text}: no L7 rule decides here, so every request has this verdict`];
  const conditions = conditionsByOrigin(policies);
  return conditional.flatMap((side) => [
    `${text} on ${side.direction}: ${l7Answer(side, request, conditions)}`,
    `L7 rules are not enforced yet, so on ${side.direction} everything they govern is dropped`,
  ]);
}

function conditionsByOrigin(policies: Iterable<ParsedPolicy>): ReadonlyMap<string, UnenforcedCondition> {
  const conditions = new Map<string, UnenforcedCondition>();
  for (const { rules } of policies)
    for (const { ports, unenforced } of rules.flatMap(({ items }) => items))
      for (const match of ports === 'any' ? [] : ports) {
        const condition = match.unenforced ?? unenforced;
        if (condition) conditions.set(originKey(match.origin), condition);
      }
  return conditions;
}

/** One rule that lets the request pass is enough; a plain allow of the same traffic lets every request pass. */
function l7Answer(
  { matched }: Explanation,
  request: L7Request,
  conditions: ReadonlyMap<string, UnenforcedCondition>,
): string {
  const misses: string[] = [];
  for (const { verdict, origin } of matched) {
    if (!origin || verdict === 'deny' || verdict === 'pass') continue;
    const name = `${formatOriginObject(origin)} ${origin.path}`;
    if (verdict === 'allow') return `would pass by ${name}, which has no L7 rules`;
    const condition = conditions.get(originKey(origin));
    if (!condition?.l7) {
      misses.push(`${name} asks for ${condition?.reason ?? 'more than L4'}, which is not judged here`);
      continue;
    }
    const { family } = condition.l7;
    const { allowedBy, nearest } = judgeL7(condition.l7, request);
    const more = condition.reason.startsWith('L7 rules') ? '' : `, if ${condition.reason} agree`;
    if (allowedBy !== undefined) return `would pass by ${name}.rules.${family}[${allowedBy}]${more}`;
    const miss = nearest ? `[${nearest.index}]: ${nearest.text}` : ': rules of another protocol';
    misses.push(`nearest miss ${name}.rules.${family}${miss}`);
  }
  return `would be refused; ${misses.join('; ')}`;
}
