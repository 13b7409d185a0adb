// SPDX-License-Identifier: Apache-2.0
// Tested: what must hold of policy whatever the policies are. How: random cases, written or compiled in two ways that must
// answer alike; the specification is held to the same laws where they are about the language.
import { describe, expect, test } from '@jest/globals';
import { parsePrefix, prefixContainsAddress } from '@cilium-ts/net';
import {
  decodeRuleSet,
  encodeRuleSet,
  lookup,
  MapState,
  SelectorCache,
  type RuleSetEntry,
} from '@cilium-ts/policy';
import type { Direction, PolicyObject } from '@cilium-ts/policy-oracle';
import { Random } from '../random.ts';
import { compiledAnswer } from './compare.ts';
import {
  addPolicies,
  compile,
  emptyEngine,
  newEngine,
  universe,
  ruleSetOf,
  subjectIdentity,
  type Compiled,
} from './compiled.ts';
import { COMPILED_FEATURES, policyCase, type PolicyCase } from './generate.ts';
import { PEERS, someProbes, type Probe } from './probe.ts';
import { renamed, reversed, split, withRanges } from './rewrite.ts';
import { specify } from './specified.ts';
import { NESTED, PODS } from './universe.ts';

const CASES = 40;
const PROBES = 500;

type Judge = (each: PolicyCase) => (probe: Probe) => string;
const compiler: Judge = (each) => {
  const compiled = compile(each);
  return (probe) => compiledAnswer(compiled, probe).verdict;
};
const specification: Judge = (each) => {
  const judge = specify(each);
  return (probe) => judge(probe).verdict;
};
const JUDGES = [
  ['the compiler', compiler],
  ['the specification', specification],
] as const;

function forCases(first: number, use: (each: PolicyCase, random: Random) => void): void {
  for (let seed = first; seed < first + CASES; seed++) {
    const random = new Random(seed);
    use(policyCase(random, COMPILED_FEATURES), random);
  }
}

function expectAlike(judge: Judge, a: PolicyCase, b: PolicyCase, probes: readonly Probe[]): void {
  const [one, other] = [judge(a), judge(b)];
  expect(probes.map(other)).toEqual(probes.map(one));
}

const passes = (verdict: string): boolean => verdict === 'allow' || verdict === 'audit';

describe.each(JUDGES)('%s', (_, judge) => {
  test.each([
    ['backwards', (objects: readonly PolicyObject[]) => reversed(objects)],
    ['in an object for each item', (objects: readonly PolicyObject[]) => split(objects)],
    ['under other names', (objects: readonly PolicyObject[]) => renamed(objects, (name) => `z-${name}`)],
    [
      'twice',
      (objects: readonly PolicyObject[]) => [...objects, ...renamed(objects, (name) => `again-${name}`)],
    ],
  ])('law 1: policies written %s decide the same', (_how, rewrite) => {
    forCases(1000, (each, random) =>
      expectAlike(judge, each, { ...each, objects: rewrite(each.objects) }, someProbes(random, PROBES)),
    );
  });

  test('law 2: an allow more drops nothing where default deny was on; a deny more lets nothing pass', () => {
    forCases(2000, (each, random) => {
      const direction: Direction = random.pick(['ingress', 'egress']);
      const item = { toPorts: [{ ports: [{ port: random.pick(['1', '80', '1024']), protocol: 'TCP' }] }] };
      const more = (key: string): PolicyCase => ({ ...each, objects: [...each.objects, extra(key, item)] });
      const probes = someProbes(random, PROBES).filter((probe) => probe.direction === direction);
      const isolated = compile(each).ruleSet.isolatedBy[direction].length > 0;
      const [before, allowing, denying] = [each, more(direction), more(`${direction}Deny`)].map(judge);
      for (const probe of probes) {
        if (isolated && passes(before!(probe))) expect(passes(allowing!(probe))).toBe(true);
        if (!passes(before!(probe))) expect(passes(denying!(probe))).toBe(false);
      }
    });
  });

  test('law 3: a range is all of its ports', () => {
    forCases(3000, (each, random) => {
      const short = (first: number, last: number): [number, number] => {
        const start = Math.max(1, first);
        return [start, Math.min(65535, Math.max(start + 1, Math.min(last, start + 4)))];
      };
      const ranges = withRanges(each.objects, (port, first, last) => {
        const [low, high] = short(first, last);
        return [{ ...port, port: String(low), endPort: high }];
      });
      const ports = withRanges(each.objects, ({ endPort: _end, ...port }, first, last) => {
        const [low, high] = short(first, last);
        return Array.from({ length: high - low + 1 }, (_each, i) => ({ ...port, port: String(low + i) }));
      });
      const [a, b] = [ranges, ports].map((objects) => ({ ...each, objects }));
      expectAlike(judge, a!, b!, someProbes(random, PROBES));
    });
  });

  test('law 6: an exception takes exactly the addresses inside it away', () => {
    const setting = { subject: 'web', mode: 'default', allowLocalhost: true, hostFirewall: false } as const;
    for (const [cidr, inside] of NESTED) {
      for (const except of inside) {
        for (const key of ['ingress', 'egress', 'ingressDeny', 'egressDeny']) {
          const side = key.startsWith('ingress') ? 'fromCIDRSet' : 'toCIDRSet';
          const deny = key.endsWith('Deny');
          const ask = (rule: object): ((probe: Probe) => string) =>
            judge({ setting, objects: [extra(key, { [side]: [rule] }, !deny)] });
          const [whole, part] = [ask({ cidr }), ask({ cidr, except: [except] })];
          for (const peer of PEERS) {
            if (peer.identity === 1) continue;
            const direction = key.startsWith('ingress') ? 'ingress' : 'egress';
            const probe: Probe = { direction, peer, protocol: 6, port: 80 };
            const excepted =
              peer.identity === undefined && prefixContainsAddress(parsePrefix(except)!, peer.addresses[0]!);
            const untouched = deny ? 'allow' : 'deny';
            expect(part(probe)).toBe(excepted ? untouched : whole(probe));
          }
        }
      }
    }
  });

  test('law 7: where nothing is enforced all passes; audited policies turn allows into audits only', () => {
    forCases(7000, (each, random) => {
      const probes = someProbes(random, PROBES);
      const never = judge({ ...each, setting: { ...each.setting, mode: 'never' } });
      expect(new Set(probes.map(never))).toEqual(new Set(['allow']));
      const audited = ({ metadata }: PolicyObject): boolean => metadata.annotations !== undefined;
      const without = judge({ ...each, objects: each.objects.filter((object) => !audited(object)) });
      const all = judge(each);
      for (const probe of probes) {
        if (without(probe) === 'allow') expect(['allow', 'audit']).toContain(all(probe));
        else expect(all(probe)).toBe(without(probe));
      }
    });
  });
});

function extra(key: string, item: object, defaultDeny = true): PolicyObject {
  const direction = key.replace('Deny', '');
  return {
    kind: 'CiliumClusterwideNetworkPolicy',
    metadata: { name: 'extra' },
    spec: { endpointSelector: {}, [key]: [item], enableDefaultDeny: { [direction]: defaultDeny } },
  };
}

function keysOf(state: MapState, number: (identity: number) => number = (identity) => identity): string[] {
  return [...state.entries()]
    .map(({ identity, direction, protocol, port, portPrefix, verdict, precedence, origin }) =>
      [number(identity), direction, protocol, port, portPrefix, verdict, precedence, origin].join(' '),
    )
    .sort();
}

describe('compiled maps', () => {
  test('law 4: other identity numbers give the same entries under those numbers', () => {
    const move = (identity: number): number =>
      PODS.some((pod) => pod.identity === identity) ? identity + 1000 : identity;
    forCases(4000, ({ setting, objects }) => {
      const compileWith = (pods: typeof PODS, identity: number): Compiled => {
        const { engine, feed } = newEngine(setting, pods);
        addPolicies(feed, objects);
        engine.compile();
        return ruleSetOf(engine, setting, identity);
      };
      const own = subjectIdentity(setting);
      const before = compileWith(PODS, own);
      const after = compileWith(
        PODS.map((pod) => ({ ...pod, identity: move(pod.identity) })).reverse(),
        move(own),
      );
      expect(after.ruleSet.id).toBe(before.ruleSet.id);
      expect(keysOf(after.state)).toEqual(keysOf(before.state, move));
    });
  });

  test('law 5: identities that come, change and go one at a time leave the same map as all at once', () => {
    forCases(5000, ({ setting, objects }, random) => {
      const { engine, feed } = newEngine(setting);
      addPolicies(feed, objects);
      engine.compile();
      const { ruleSet, state } = ruleSetOf(engine, setting);
      const cache = new SelectorCache();
      const grown = new MapState(ruleSet, (selector) => cache.select(selector));
      const put = (id: number, labels: Parameters<SelectorCache['update']>[1]): void => {
        cache.update(id, labels);
        grown.update(id, (selector) => cache.select(selector).has(id));
      };
      const all = [...engine.identities].sort(() => random.between(-1, 1));
      for (const [id, labels] of all) {
        if (random.chance(30)) put(id, random.pick(all)[1]);
        if (random.chance(30)) put(random.pick(all)[0], undefined);
        put(id, labels);
      }
      for (const [id, labels] of all) put(id, labels);
      expect(keysOf(grown)).toEqual(keysOf(state));
    });
  });

  test('law 5: policies that came and went leave no trace', () => {
    forCases(5500, ({ setting, objects }, random) => {
      const { engine, feed } = newEngine(setting);
      const passing = renamed(policyCase(random, COMPILED_FEATURES).objects, (name) => `passing-${name}`);
      for (const object of [...passing, ...objects]) {
        addPolicies(feed, [object]);
        if (random.chance(50)) engine.compile();
      }
      for (const object of passing) feed.deletePolicy(object as Parameters<typeof feed.deletePolicy>[0]);
      engine.compile();
      const left = ruleSetOf(engine, setting);
      expect(left.ruleSet.id).toBe(compile({ setting, objects }).ruleSet.id);
    });
  });

  test('law 5: pods, services, groups, nodes and policies may come in any order', () => {
    forCases(5800, ({ setting, objects }, random) => {
      const { engine, feed } = emptyEngine(setting);
      const steps = [...universe(feed), ...objects.map((object) => () => addPolicies(feed, [object]))];
      while (steps.length > 0) {
        steps.splice(random.below(steps.length), 1)[0]!();
        if (random.chance(25)) engine.compile();
      }
      engine.compile();
      expect(ruleSetOf(engine, setting).ruleSet.id).toBe(compile({ setting, objects }).ruleSet.id);
    });
  });

  test('rule sets survive their way over the bus', () => {
    forCases(9500, (each) => {
      const { ruleSet } = compile(each);
      expect(decodeRuleSet(encodeRuleSet(ruleSet))).toEqual(ruleSet);
    });
  });

  test('the index of a map answers as the plain model of the lookup', () => {
    forCases(9000, (each, random) => {
      const { state, identityOf } = compile(each);
      const entries = [...state.entries()];
      for (const { direction, peer, protocol, port } of someProbes(random, 50)) {
        const flow = { direction, identity: identityOf(peer), protocol, port };
        expect(state.lookup(flow)).toEqual(lookup(entries, flow));
      }
    });
  });

  test('law 8: no wide key outranks a narrower one, and most entries decide something', () => {
    let entries = 0;
    let needless = 0;
    forCases(8000, (each) => {
      const all = [...compile(each).state.entries()];
      for (const wide of all) {
        for (const narrow of all) {
          if (covers(wide, narrow)) expect(wide.precedence).toBeLessThanOrEqual(narrow.precedence);
        }
      }
      if (all.length > 60) return;
      entries += all.length;
      needless += all.filter((entry) => isNeedless(entry, all)).length;
    });
    expect(entries).toBeGreaterThan(300);
    expect(needless / entries).toBeLessThan(0.6);
  });
});

function covers(wide: RuleSetEntry, narrow: RuleSetEntry): boolean {
  if (wide === narrow || wide.direction !== narrow.direction) return false;
  if (wide.identity !== 0 && wide.identity !== narrow.identity) return false;
  if (wide.protocol === 0) return true;
  const mask = 16 - wide.portPrefix;
  return (
    wide.protocol === narrow.protocol &&
    wide.portPrefix <= narrow.portPrefix &&
    (wide.port ^ narrow.port) >> mask === 0
  );
}

/** Without it, every flow that it could decide would get the same verdict. */
function isNeedless(entry: RuleSetEntry, all: readonly RuleSetEntry[]): boolean {
  const rest = all.filter((other) => other !== entry);
  const last = entry.port + (1 << (16 - entry.portPrefix)) - 1;
  const edges = all.flatMap(({ port, portPrefix }) => [port, port + (1 << (16 - portPrefix)), port - 1]);
  const ports = [...new Set([entry.port, last, ...edges])].filter(
    (port) => port >= entry.port && port <= last,
  );
  const identities =
    entry.identity === 0 ? [77, ...new Set(all.map(({ identity }) => identity))] : [entry.identity];
  const protocols = entry.protocol === 0 ? [1, 6, 17, 58, 99, 132] : [entry.protocol];
  return identities.every((identity) =>
    protocols.every((protocol) =>
      ports.every((port) => {
        const flow = { direction: entry.direction, identity, protocol, port };
        return (lookup(rest, flow)?.verdict ?? 'deny') === (lookup(all, flow)?.verdict ?? 'deny');
      }),
    ),
  );
}
