// SPDX-License-Identifier: Apache-2.0
// Tested: the compiled rule sets. How: random rules, every interesting flow, against the executable specification.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cidrLabels, type Label } from '@cilium-ts/identity';
import { PolicyEngine, lookup, type ParsedPolicy, type PolicyFlow, type RuleSetEntry } from './index.ts';
import { oracle, type OracleWorld } from './oracle.ts';
import { EDGE_PORTS, WORLD_PODS, parsed, ruleSpec } from './testing.ts';

function engineWith(policies: readonly ParsedPolicy[]): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default' });
  for (const { id, labels } of WORLD_PODS) engine.upsertIdentity(id, labels);
  for (const policy of policies) engine.upsertPolicy(policy);
  engine.compile();
  return engine;
}

function flows(engine: PolicyEngine): PolicyFlow[] {
  const all: PolicyFlow[] = [];
  // 9999 is an identity no rule can know.
  for (const identity of [...engine.identities.keys(), 9999]) {
    // Pods nobody has told of yet are denied more than the specification says.
    if (identity === 3) continue;
    for (const direction of ['ingress', 'egress'] as const) {
      for (const protocol of [6, 17, 132]) {
        for (const port of EDGE_PORTS) all.push({ direction, identity, protocol, port });
      }
      for (const protocol of [1, 58])
        for (const port of [0, 8, 128]) all.push({ direction, identity, protocol, port });
      all.push({ direction, identity, protocol: 112, port: 0 });
    }
  }
  return all;
}

function worldOf(engine: PolicyEngine, subject: number): OracleWorld {
  const world = engine.world(subject);
  return {
    mode: world.mode,
    allowLocalhost: world.allowLocalhost,
    identities: engine.identities,
    expand: (peer) => world.expand(peer),
    namedPorts: (direction, name, protocol) => world.namedPorts(direction, name, protocol),
  };
}

function disagreements(engine: PolicyEngine, policies: readonly ParsedPolicy[], subject: number): string[] {
  const rules = policies.flatMap((policy) => policy.rules);
  const state = engine.mapState(engine.subject(subject)!.ruleSet)!;
  const entries = [...state.entries()];
  const world = worldOf(engine, subject);
  return flows(engine).flatMap((flow) => {
    const compiled = lookup(entries, flow)?.verdict ?? 'deny';
    expect(state.lookup(flow)?.verdict ?? 'deny').toBe(compiled);
    const { verdict } = oracle(world, rules, subject, flow);
    return compiled === verdict
      ? []
      : [`${JSON.stringify(flow)}: compiled ${compiled}, specified ${verdict}`];
  });
}

const policySet = fc
  .array(fc.tuple(fc.constantFrom('cnp' as const, 'ccnp' as const), ruleSpec), { minLength: 1, maxLength: 4 })
  .map((list) => list.map(([kind, spec], index) => parsed(kind, `p${index}`, spec)));

function covers(e: RuleSetEntry, f: RuleSetEntry): boolean {
  if (e === f || e.direction !== f.direction || (e.identity !== 0 && e.identity !== f.identity)) return false;
  if (e.protocol === 0) return true;
  return (
    e.protocol === f.protocol &&
    e.portPrefix <= f.portPrefix &&
    (e.port ^ f.port) >> (16 - e.portPrefix) === 0
  );
}

describe('compiled rule sets', () => {
  test('decide every flow as the specification does', () => {
    fc.assert(
      fc.property(policySet, (policies) => {
        const engine = engineWith(policies);
        for (const subject of [300, 301, 302, 5])
          expect(disagreements(engine, policies, subject)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test('never let a wider key outrank a narrower one that it covers', () => {
    fc.assert(
      fc.property(policySet, (policies) => {
        const engine = engineWith(policies);
        for (const { id } of engine.state().ruleSets) {
          const entries = [...engine.mapState(id)!.entries()];
          for (const wide of entries) {
            for (const narrow of entries) {
              if (covers(wide, narrow)) expect(wide.precedence).toBeLessThanOrEqual(narrow.precedence);
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('do not depend on the order in which objects and identities arrive', () => {
    fc.assert(
      fc.property(policySet, (policies) => {
        const forward = engineWith(policies);
        const backward = new PolicyEngine({ cluster: 'default' });
        backward.restoreCidrs(forward.state().cidrs);
        for (const policy of [...policies].reverse()) {
          backward.upsertPolicy(policy);
          backward.compile();
        }
        for (const { id, labels } of [...WORLD_PODS].reverse()) {
          backward.upsertIdentity(id, labels);
          backward.compile();
        }
        const subjects = (engine: PolicyEngine): unknown[] =>
          [...engine.state().subjects].sort((a, b) => a.identity - b.identity);
        expect(subjects(backward)).toEqual(subjects(forward));
      }),
      { numRuns: 80 },
    );
  });

  test('are back where they were after policies and identities went again', () => {
    fc.assert(
      fc.property(policySet, policySet, (kept, extra) => {
        const engine = engineWith(kept);
        const before = JSON.stringify(engine.state().subjects);
        const renamed = extra.map((policy, i) => ({ ...policy, id: { ...policy.id, name: `x${i}` } }));
        for (const policy of renamed) engine.upsertPolicy(policy);
        engine.upsertIdentity(400, cidrLabels('192.0.2.0/24') as Label[]);
        engine.compile();
        for (const policy of renamed) engine.deletePolicy(policy.id);
        engine.deleteIdentity(400);
        engine.compile();
        expect(JSON.stringify([...engine.state().subjects].sort((a, b) => a.identity - b.identity))).toBe(
          JSON.stringify(
            [...(JSON.parse(before) as { identity: number }[])].sort((a, b) => a.identity - b.identity),
          ),
        );
      }),
      { numRuns: 60 },
    );
  });
});
