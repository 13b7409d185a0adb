// SPDX-License-Identifier: Apache-2.0
// From rules to map entries on one thread, with inputs whose results are known: time of each step, entries, entries/s.
import {
  PolicyEngine,
  resolveRuleSet,
  type OwnedItem,
  type ParsedPolicy,
  type RuleSet,
} from '@cilium-ts/policy';
import type { Label } from '@cilium-ts/identity';
import { benchRow, median, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import {
  cidrPolicies,
  labelPolicies,
  peerIdentities,
  strangerPolicies,
  SUBJECT_IDENTITY,
  SUBJECT_LABELS,
} from './policy-inputs.ts';

const ROUNDS = 31;

interface Case {
  readonly name: string;
  readonly policies: readonly ParsedPolicy[];
  readonly identities: readonly [number, readonly Label[]][];
  /** Milliseconds; for which step, see `measured`. */
  readonly goal?: number;
  /** What the goal is about: entries from a rule set, rules to entries, or finding the rules. */
  readonly measured: 'expand' | 'compile' | 'select';
  /** At most so many entries. */
  readonly entries?: number;
}

function cases(small: boolean): Case[] {
  const scale = small ? 100 : 1;
  const rules = 1000 / scale;
  const peers = 3000 / scale;
  const labels = (direction: 'ingress' | 'egress', matching: boolean, goal?: number): Case => ({
    name: `l3 ${direction}, ${matching ? 'all' : 'none'} of ${peers} identities match`,
    policies: labelPolicies(rules, direction),
    identities: peerIdentities(peers, matching),
    measured: 'compile',
    ...(goal === undefined ? {} : { goal }),
  });
  const full = !small;
  return [
    {
      name: `${rules} CIDR allow`,
      policies: cidrPolicies(rules, false),
      identities: [],
      measured: 'expand',
      goal: 9.1,
      ...(full ? { entries: 44_596 } : {}),
    },
    {
      name: `${rules} CIDR allow + deny`,
      policies: cidrPolicies(rules, true),
      identities: [],
      measured: 'expand',
      goal: 63,
      ...(full ? { entries: 117_515 } : {}),
    },
    labels('ingress', false, 3.2),
    labels('egress', false, 2.9),
    labels('ingress', true),
    {
      name: `${20_000 / scale} rules, none matches`,
      policies: strangerPolicies(20_000 / scale),
      identities: [],
      measured: 'select',
      goal: 1.9,
    },
  ];
}

export function engineFor(
  policies: readonly ParsedPolicy[],
  identities: readonly [number, readonly Label[]][],
): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.upsertIdentity(SUBJECT_IDENTITY, SUBJECT_LABELS);
  for (const [id, labels] of identities) engine.upsertIdentity(id, labels);
  for (const policy of policies) engine.upsertPolicy(policy);
  engine.compile();
  return engine;
}

function timed<T>(into: number[], work: () => T): T {
  const start = performance.now();
  const result = work();
  into.push(performance.now() - start);
  return result;
}

function ownedItems(engine: PolicyEngine): OwnedItem[] {
  return engine
    .rulesOf(SUBJECT_IDENTITY)
    .flatMap(({ policy, rule }) => rule.items.map((item) => ({ item, audited: policy.audited })));
}

function measure(one: Case, rounds: number): BenchRow[] {
  const engine = engineFor(one.policies, one.identities);
  const steps = {
    select: [] as number[],
    resolve: [] as number[],
    expand: [] as number[],
    compile: [] as number[],
  };
  const world = engine.world(SUBJECT_IDENTITY);
  let entries = 0;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const items = timed(steps.select, () => ownedItems(engine));
    const ruleSet: RuleSet = timed(steps.resolve, () => resolveRuleSet(SUBJECT_IDENTITY, items, world));
    const state = timed(steps.expand, () => engine.mapState(ruleSet.id)!);
    steps.compile.push(performance.now() - start);
    entries = state.size;
  }
  const times = (['select', 'resolve', 'expand', 'compile'] as const).map((step) =>
    benchRow({
      case: `${one.name}: ${step}`,
      unit: 'ms',
      ours: median(steps[step]),
      better: 'lower',
      ...(step === one.measured && one.goal !== undefined ? { goal: one.goal } : {}),
    }),
  );
  const size = { case: `${one.name}: entries`, unit: 'entries', ours: entries, better: 'lower' as const };
  const rate = (entries / median(steps.expand)) * 1000;
  return [
    ...times,
    benchRow(one.entries === undefined ? size : { ...size, goal: one.entries }),
    benchRow({ case: `${one.name}: expansion`, unit: 'entries/s', ours: rate, better: 'higher' }),
  ];
}

export const policyCompile: Bench = {
  name: 'policy-compile',
  summary: 'rules to map entries on one thread: CIDRs, denies, labels, many rules that do not match',
  run: ({ small, log }: BenchOptions) =>
    Promise.resolve(
      cases(small).flatMap((one) => {
        log(one.name);
        return measure(one, small ? 3 : ROUNDS);
      }),
    ),
};
