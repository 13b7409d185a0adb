// SPDX-License-Identifier: Apache-2.0
// A flow between two endpoints: egress at the source, ingress at the destination, and what both say together.
import { IDENTITY_HOST, identityScope, type Label } from '@cilium-ts/identity';
import { AppError } from '@cilium-ts/base';
import { protocolName } from '@cilium-ts/net';
import type { PolicyEngine } from './engine.ts';
import { explainRuleSet, type Explanation } from './explain.ts';
import { indexLabels, matcherOf } from './matcher.ts';
import { resolveRuleSet, type OwnedItem } from './resolve.ts';
import { policyKey, type ParsedPolicy, type PortMatch, type Rule } from './rule.ts';
import { ruleSetIdOf, type Direction, type RuleSet } from './rule-set.ts';

export interface ExplainEndpoint {
  readonly identity: number;
  readonly labels: readonly Label[];
  /** `namespace/name`; for identity 1 the node. */
  readonly pod?: string;
}

export interface ExplainQuery {
  readonly source: ExplainEndpoint;
  readonly destination: ExplainEndpoint;
  readonly protocol: number;
  /** A number, or the name of a port of the destination. */
  readonly port: number | string;
}

export interface FlowExplanation {
  /** Of both directions: `audit` where it passes and at least one side only audits. */
  readonly verdict: 'allow' | 'deny' | 'audit';
  readonly port: number;
  readonly directions: readonly Explanation[];
  /** What the reader should know besides: sides without policy, ports without pods. */
  readonly notes: readonly string[];
}

/** Where rule sets come from: compiled ones, or those of a node. */
export interface ExplainSource {
  ruleSetOf(subject: ExplainEndpoint): RuleSet | undefined;
  namedPorts(subject: ExplainEndpoint, name: string, protocol: number): readonly number[];
  /** Notes about what no row of the rule set shows. */
  notesOn?(subject: ExplainEndpoint, direction: Direction): readonly string[];
}

/** @throws AppError `bad-request` for a port name that stands for no or several numbers */
export function explainFlow(source: ExplainSource, query: ExplainQuery): FlowExplanation {
  const port = portNumber(source, query);
  const notes: string[] = [];
  const directions: Explanation[] = [];
  for (const direction of ['egress', 'ingress'] as const) {
    const [subject, peer] =
      direction === 'egress' ? [query.source, query.destination] : [query.destination, query.source];
    const ruleSet = source.ruleSetOf(subject);
    if (!ruleSet) {
      notes.push(`no policy is enforced on ${direction} at ${nameOf(subject)}`);
      directions.push({ direction, verdict: 'default-allow', matched: [], isolatedBy: [] });
      continue;
    }
    const flow = { direction, identity: peer.identity, protocol: query.protocol, port };
    const answer = explainRuleSet(ruleSet, peer.labels, flow);
    directions.push(answer);
    if (answer.verdict === 'default-deny') notes.push(...(source.notesOn?.(subject, direction) ?? []));
  }
  const verdicts = directions.map(({ verdict }) => verdict);
  const drops = verdicts.some((verdict) => ['deny', 'default-deny', 'unenforced'].includes(verdict));
  const verdict = drops ? 'deny' : verdicts.includes('audit') ? 'audit' : 'allow';
  return { verdict, port, directions, notes };
}

function portNumber(source: ExplainSource, { port, protocol, destination }: ExplainQuery): number {
  if (typeof port === 'number') return port;
  const [number, ...more] = source.namedPorts(destination, port.toLowerCase(), protocol);
  if (number === undefined)
    throw new AppError(
      'bad-request',
      `${nameOf(destination)} has no ${protocolName(protocol)} port named ${JSON.stringify(port)}`,
    );
  if (more.length > 0)
    throw new AppError(
      'bad-request',
      `port ${JSON.stringify(port)} is ${[number, ...more].join(', ')}: say which`,
    );
  return number;
}

function nameOf({ pod, identity }: ExplainEndpoint): string {
  return pod ?? `identity ${identity}`;
}

/** Explains from an engine; `more` are policies that need not be in it, and replace those of the same name. */
export function engineExplainSource(engine: PolicyEngine, more: readonly ParsedPolicy[] = []): ExplainSource {
  const rules = (subject: ExplainEndpoint) => rulesOn(engine, more, subject);
  return {
    ruleSetOf(subject) {
      const { identity, pod } = subject;
      const known = engine.subject(identity);
      if (known && more.length === 0) return engine.ruleSet(ruleSetIdOf(known, pod));
      if (!known && identityScope(identity) !== 'cluster') return undefined;
      const items = rules(subject).flatMap(({ rule, audited }) =>
        rule.items.map((item): OwnedItem => ({ item, audited })),
      );
      return resolveRuleSet(identity, items, engine.world(identity, pod));
    },
    namedPorts: ({ identity, pod }, name, protocol) =>
      engine.world(identity, pod).namedPorts('ingress', name, protocol),
    notesOn: (subject, direction) => unresolvedPorts(engine, rules(subject), subject, direction),
  };
}

interface RuleHere {
  readonly rule: Rule;
  readonly audited: boolean;
}

function rulesOn(
  engine: PolicyEngine,
  more: readonly ParsedPolicy[],
  { identity, pod, labels }: ExplainEndpoint,
): RuleHere[] {
  const replaced = new Set(more.map(({ id }) => policyKey(id)));
  const indexed = indexLabels(labels);
  const on = identity === IDENTITY_HOST ? 'nodes' : 'endpoints';
  const isKnown = engine.identities.has(identity) || on === 'nodes';
  // Of somebody who is not there the labels alone say whom a rule selects.
  const owned = isKnown
    ? engine.rulesOf(identity, pod)
    : [...engine.policies()].flatMap((policy) =>
        policy.rules
          .filter((rule) => rule.on === on && matcherOf(rule.subject)(indexed))
          .map((rule) => ({ policy, rule })),
      );
  const present = owned
    .filter(({ policy }) => !replaced.has(policyKey(policy.id)))
    .map(({ policy, rule }) => ({ rule, audited: policy.audited }));
  const added = more.flatMap(({ rules, audited }) =>
    rules
      .filter((rule) => rule.on === on && matcherOf(rule.subject)(indexed))
      .map((rule) => ({ rule, audited })),
  );
  return [...present, ...added];
}

/** A named port that no pod has, or several pods have under different numbers, leaves no row behind. */
function unresolvedPorts(
  engine: PolicyEngine,
  rules: readonly RuleHere[],
  { identity, pod }: ExplainEndpoint,
  direction: Direction,
): string[] {
  const world = engine.world(identity, pod);
  const numbers = ({ name, protocols }: PortMatch): number[] =>
    protocols.flatMap((protocol) => [...world.namedPorts(direction, name!, protocol)]);
  return rules
    .flatMap(({ rule }) => rule.items)
    .filter((item) => item.direction === direction && item.ports !== 'any')
    .flatMap((item) => (item.ports === 'any' ? [] : item.ports))
    .filter((port) => port.name !== undefined && numbers(port).length !== 1)
    .map((port) => {
      const found = numbers(port);
      const why = found.length === 0 ? 'no pod has' : `pods have as ${found.join(', ')}`;
      const { name, path } = port.origin;
      return `${name} ${path} names port ${JSON.stringify(port.name)}, which ${why}: it allows nothing`;
    });
}
