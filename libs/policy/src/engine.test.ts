// SPDX-License-Identifier: Apache-2.0
// Tested: the engine on the seed's policies, origins and lines, named ports, CIDRs, services, documents.
// How: a small world of pods, looked up as the datapath does.
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  PolicyEngine,
  PolicyFeed,
  decodeRuleSet,
  encodeRuleSet,
  lookup,
  ruleSetIdOf,
  type Direction,
  type RuleSetEntry,
} from './index.ts';
import { sha256Hex } from './sha256.ts';
import { parsed, podLabels } from './testing.ts';

const FRONTEND = 300;
const BACKEND = 301;
const OTHER = 302;

function world(): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.upsertIdentity(FRONTEND, podLabels('production', { app: 'frontend' }));
  engine.upsertIdentity(BACKEND, podLabels('production', { app: 'backend' }));
  engine.upsertIdentity(OTHER, podLabels('default', { app: 'backend' }));
  return engine;
}

type Ask = [direction: Direction, identity: number, port: number, pod?: string];

function ask(engine: PolicyEngine, subject: number, ...question: Ask): RuleSetEntry | undefined {
  const [direction, identity, port, pod] = question;
  const state = engine.mapState(ruleSetIdOf(engine.subject(subject)!, pod))!;
  return lookup(state.entries(), { direction, identity, protocol: 6, port });
}

const allowFrontend = parsed(
  'cnp',
  'allow-frontend-to-backend',
  {
    endpointSelector: { matchLabels: { app: 'frontend' } },
    egress: [
      {
        toEndpoints: [{ matchLabels: { app: 'backend' } }],
        toPorts: [{ ports: [{ port: '8080', protocol: 'TCP' }] }],
      },
    ],
  },
  'production',
);

describe('the seed', () => {
  test('frontend reaches backend on 8080 and nothing else; others are not touched', () => {
    const engine = world();
    engine.upsertPolicy(allowFrontend);
    engine.compile();
    expect(ask(engine, FRONTEND, 'egress', BACKEND, 8080)?.verdict).toBe('allow');
    expect(ask(engine, FRONTEND, 'egress', BACKEND, 8081)).toBeUndefined();
    expect(ask(engine, FRONTEND, 'egress', OTHER, 8080)).toBeUndefined();
    expect(ask(engine, FRONTEND, 'ingress', OTHER, 1)?.verdict).toBe('allow');
    expect(ask(engine, BACKEND, 'egress', 2, 1)?.verdict).toBe('allow');
    expect(engine.subject(BACKEND)!.ruleSet).toBe(engine.subject(OTHER)!.ruleSet);
  });

  test('an entry leads to the object, the path and the line', () => {
    const engine = world();
    engine.upsertPolicy(allowFrontend);
    engine.compile();
    const ruleSet = engine.ruleSet(engine.subject(FRONTEND)!.ruleSet)!;
    const entry = ask(engine, FRONTEND, 'egress', BACKEND, 8080)!;
    expect(ruleSet.origins[entry.origin - 1]).toEqual({
      kind: 'CiliumNetworkPolicy',
      namespace: 'production',
      name: 'allow-frontend-to-backend',
      path: 'egress[0].toPorts[0]',
      line: 6,
    });
    expect(ruleSet.isolatedBy.egress.map(({ path, line }) => `${path}:${line}`)).toEqual(['egress[0]:2']);
  });

  test('the cluster-wide policy lets pods in and keeps the world out; the local host passes', () => {
    const engine = world();
    engine.upsertPolicy(
      parsed('ccnp', 'deny-cross-namespace', {
        endpointSelector: {},
        ingress: [{ fromEndpoints: [{ matchLabels: {} }] }],
      }),
    );
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', OTHER, 80)?.verdict).toBe('allow');
    expect(ask(engine, BACKEND, 'ingress', 2, 80)).toBeUndefined();
    expect(ask(engine, BACKEND, 'ingress', 6, 80)).toBeUndefined();
    expect(ask(engine, BACKEND, 'ingress', 1, 80)?.verdict).toBe('allow');
  });
});

describe('what is not enforced yet', () => {
  const rule = (item: object): ReturnType<typeof parsed> =>
    parsed('cnp', 'p', { endpointSelector: {}, egress: [item] }, 'production');

  test.each([
    ['HTTP rules', { toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{}] } }] }, 80],
    ['server names', { toPorts: [{ ports: [{ port: '443', protocol: 'TCP' }], serverNames: ['a.b'] }] }, 443],
    ['DNS names', { toFQDNs: [{ matchName: 'a.b' }] }, 443],
    ['authentication', { toEntities: ['world'], authentication: { mode: 'required' } }, 443],
  ])('%s are dropped with a reason of their own and noted', (_, item, port) => {
    const engine = world();
    const policy = rule(item);
    engine.upsertPolicy(policy);
    engine.compile();
    expect(ask(engine, FRONTEND, 'egress', 2, port)?.verdict).toBe('unenforced');
    expect(policy.unenforced).toHaveLength(1);
  });

  test('DNS names take nothing from what another rule allows', () => {
    const engine = world();
    engine.upsertPolicy(
      parsed(
        'cnp',
        'p',
        { endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: 'a.b' }] }, { toEntities: ['world'] }] },
        'production',
      ),
    );
    engine.compile();
    expect(ask(engine, FRONTEND, 'egress', 2, 443)?.verdict).toBe('allow');
  });
});

describe('named ports', () => {
  const byName = parsed(
    'cnp',
    'p',
    {
      endpointSelector: { matchLabels: { app: 'backend' } },
      ingress: [{ toPorts: [{ ports: [{ port: 'web', protocol: 'TCP' }] }] }],
    },
    'production',
  );
  const web = (
    port: number,
  ): { identity: number; ports: { name: string; port: number; protocol: number }[] } => ({
    identity: BACKEND,
    ports: [{ name: 'web', port, protocol: 6 }],
  });

  test('are the same in whatever case somebody writes them', () => {
    const engine = world();
    engine.upsertPolicy(byName);
    engine.upsertPod('production/b1', {
      identity: BACKEND,
      ports: [{ name: 'Web', port: 8080, protocol: 6 }],
    });
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 8080)?.verdict).toBe('allow');
  });

  test('stand for the number of the own pod, also where pods of one identity differ', () => {
    const engine = world();
    engine.upsertPolicy(byName);
    engine.upsertPod('production/b1', web(8080));
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 8080)?.verdict).toBe('allow');
    engine.upsertPod('production/b2', web(9090));
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 8080)).toBeUndefined();
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 8080, 'production/b1')?.verdict).toBe('allow');
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 9090, 'production/b1')).toBeUndefined();
    expect(ask(engine, BACKEND, 'ingress', FRONTEND, 9090, 'production/b2')?.verdict).toBe('allow');
  });
});

describe('CIDRs and Services', () => {
  test('prefixes get identities that survive a restart; exceptions are left out', () => {
    const engine = world();
    const policy = parsed(
      'cnp',
      'p',
      { endpointSelector: {}, egress: [{ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.96.0.0/12'] }] }] },
      'production',
    );
    engine.upsertPolicy(policy);
    const cidrs = new Map(engine.compile()!.cidrs.map(({ prefix, identity }) => [prefix, identity]));
    expect(ask(engine, FRONTEND, 'egress', cidrs.get('10.0.0.0/8')!, 1)?.verdict).toBe('allow');
    expect(ask(engine, FRONTEND, 'egress', cidrs.get('10.96.0.0/12')!, 1)).toBeUndefined();
    const again = world();
    again.restoreCidrs([...cidrs].map(([prefix, identity]) => ({ prefix, identity })));
    again.upsertPolicy(policy);
    expect(again.compile()!.cidrs).toEqual([...cidrs].map(([prefix, identity]) => ({ prefix, identity })));
    engine.deletePolicy(policy.id);
    expect(engine.compile()!.removedCidrs).toHaveLength(2);
  });

  test('CIDR groups are meant by their labels, those of other labels are not', () => {
    const engine = world();
    engine.upsertCidrGroup({ name: 'in', labels: { zone: 'a' }, cidrs: ['10.1.0.0/16'] });
    engine.upsertCidrGroup({ name: 'out', labels: { zone: 'b' }, cidrs: ['10.2.0.0/16'] });
    const toCIDRSet = [{ cidrGroupSelector: { matchLabels: { zone: 'a' } } }];
    engine.upsertPolicy(parsed('cnp', 'p', { endpointSelector: {}, egress: [{ toCIDRSet }] }, 'production'));
    expect(engine.compile()!.cidrs.map(({ prefix }) => prefix)).toEqual(['10.1.0.0/16']);
  });

  test('a standby that takes over gives every prefix the number that nodes know it by', () => {
    const to = (name: string, cidr: string): ReturnType<typeof parsed> =>
      parsed('cnp', name, { endpointSelector: {}, egress: [{ toCIDR: [cidr] }] }, 'production');
    const leader = world();
    const standby = world();
    const first = to('a', '10.0.0.0/8');
    const second = to('b', '192.0.2.0/24');
    for (const one of [first, second]) leader.upsertPolicy(one);
    for (const one of [second, first]) standby.upsertPolicy(one);
    leader.compile();
    standby.compile();
    const { cidrs, nextCidr } = leader.state();
    expect(standby.state().cidrs).not.toEqual(cidrs);
    leader.deletePolicy(second.id);
    leader.compile();
    standby.deletePolicy(second.id);
    standby.restoreCidrs(leader.state().cidrs, nextCidr);
    standby.upsertPolicy(to('c', '198.51.100.0/24'));
    standby.compile();
    const given = new Map(standby.state().cidrs.map(({ prefix, identity }) => [prefix, identity]));
    expect(given.get('10.0.0.0/8')).toBe(cidrs.find(({ prefix }) => prefix === '10.0.0.0/8')!.identity);
    expect(given.get('198.51.100.0/24')).toBeGreaterThanOrEqual(nextCidr);
    expect(ask(standby, FRONTEND, 'egress', given.get('10.0.0.0/8')!, 1)?.verdict).toBe('allow');
  });

  test('a Service that does not exist allows nobody, not everybody', () => {
    const engine = world();
    engine.upsertPolicy(
      parsed(
        'cnp',
        'p',
        {
          endpointSelector: {},
          egress: [
            {
              toServices: [{ k8sService: { serviceName: 's', namespace: 'production' } }],
              toPorts: [{ ports: [{ port: '8080', protocol: 'TCP' }] }],
            },
          ],
        },
        'production',
      ),
    );
    engine.compile();
    expect(ask(engine, FRONTEND, 'egress', BACKEND, 8080)).toBeUndefined();
    engine.upsertService({
      namespace: 'production',
      name: 's',
      labels: {},
      selector: { app: 'backend' },
      backends: [],
    });
    engine.compile();
    expect(ask(engine, FRONTEND, 'egress', BACKEND, 8080)?.verdict).toBe('allow');
    expect(ask(engine, FRONTEND, 'egress', OTHER, 8080)).toBeUndefined();
  });
});

describe('the feed', () => {
  test('keeps the last valid version of an object in force', () => {
    const engine = world();
    const feed = new PolicyFeed(engine);
    const object = (port: string): never =>
      ({
        kind: 'CiliumNetworkPolicy',
        metadata: { name: 'p', namespace: 'production', uid: 'u' },
        spec: { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port }] }] }] },
      }) as never;
    expect(feed.upsertPolicy(object('80')).problems).toEqual([]);
    expect(feed.upsertPolicy(object('00'))).toMatchObject({ previousInForce: true });
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', 2, 80)?.verdict).toBe('allow');
    expect(ask(engine, BACKEND, 'ingress', 2, 81)).toBeUndefined();
    feed.deletePolicy(object('00'));
    engine.compile();
    expect(ask(engine, BACKEND, 'ingress', 2, 81)?.verdict).toBe('allow');
  });
});

describe('documents', () => {
  test('a rule set survives its text; a damaged one is refused', () => {
    const engine = world();
    engine.upsertPolicy(allowFrontend);
    engine.compile();
    const ruleSet = engine.ruleSet(engine.subject(FRONTEND)!.ruleSet)!;
    expect(decodeRuleSet(encodeRuleSet(ruleSet))).toEqual(ruleSet);
    expect(() => decodeRuleSet(encodeRuleSet(ruleSet).replace('8080', '8081'))).toThrow('does not match');
  });

  test.each(['', 'abc', 'x'.repeat(55), 'x'.repeat(64), 'y'.repeat(1000)])(
    'the hash of %j is SHA-256',
    (text) =>
      expect(sha256Hex(new TextEncoder().encode(text))).toBe(createHash('sha256').update(text).digest('hex')),
  );
});

test('policies that come and go leave no selectors behind, and those that stay go on selecting', () => {
  const engine = world();
  engine.upsertPolicy(allowFrontend);
  for (let i = 0; i < 1500; i++) {
    const one = parsed('cnp', `p${i}`, {
      endpointSelector: { matchLabels: { app: `x${i}` } },
      ingress: [{ fromEndpoints: [{}] }],
    });
    engine.upsertPolicy(one);
    engine.deletePolicy(one.id);
  }
  engine.compile();
  expect(engine.selectorCount).toBeLessThan(100);
  engine.upsertIdentity(400, podLabels('production', { app: 'frontend' }));
  engine.compile();
  expect(engine.subject(400)!.ruleSet).toBe(engine.subject(FRONTEND)!.ruleSet);
});
