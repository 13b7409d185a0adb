// SPDX-License-Identifier: Apache-2.0
// Tested: tiers, Pass, audited policies and policies of nodes. How: rules made by hand, looked up as the datapath does; the
// maps of a node that follows identities against those of one that knows them from the start.
import { describe, expect, test } from '@jest/globals';
import {
  MapState,
  PolicyEngine,
  SelectorCache,
  type ParsedPolicy,
  type PolicyFlow,
  type RuleAction,
  type RuleItem,
  type RuleSetEntry,
  type Tier,
} from './index.ts';
import { requireValue } from './selector.ts';
import { parsed, podLabels } from './testing.ts';

const SUBJECT = 300;
const PEER = 301;
const OTHER = 302;

interface Line {
  tier: Tier;
  priority?: number;
  action: RuleAction;
  /** Value of label app; absent: every peer. */
  peer?: string;
  port?: number;
}

function policy(name: string, lines: readonly Line[]): ParsedPolicy {
  const kind = 'ClusterNetworkPolicy' as const;
  const items = lines.map(({ tier, priority = 0, action, peer, port }, index): RuleItem => {
    const origin = { kind, name, path: `ingress[${index}]`, line: index + 1 };
    return {
      direction: 'ingress',
      action,
      tier,
      priority: priority * 1000 + index,
      defaultDeny: false,
      peers: peer === undefined ? 'any' : [{ kind: 'labels', selector: [requireValue('k8s', 'app', peer)] }],
      ports: port === undefined ? 'any' : [{ origin, protocols: [6], from: port, to: port }],
      origin,
    };
  });
  const subject = [requireValue('k8s', 'app', 'subject')];
  return {
    id: { kind, name },
    rules: [{ on: 'endpoints', subject, items }],
    audited: false,
    unenforced: [],
  };
}

function engineWith(...policies: ParsedPolicy[]): PolicyEngine {
  const engine = new PolicyEngine({ cluster: 'default', hostFirewall: true });
  engine.upsertIdentity(SUBJECT, podLabels('ns', { app: 'subject' }));
  engine.upsertIdentity(PEER, podLabels('ns', { app: 'peer' }));
  engine.upsertIdentity(OTHER, podLabels('ns', { app: 'other' }));
  for (const one of policies) engine.upsertPolicy(one);
  engine.compile();
  return engine;
}

function ask(engine: PolicyEngine, identity: number, port: number): RuleSetEntry | undefined {
  const flow: PolicyFlow = { direction: 'ingress', identity, protocol: 6, port };
  return engine.mapState(engine.subject(SUBJECT)!.ruleSet)!.lookup(flow);
}

const verdicts = (engine: PolicyEngine, ...asked: [number, number][]): string[] =>
  asked.map(([identity, port]) => ask(engine, identity, port)?.verdict ?? 'miss');

const isolating = (ports: object[] = []): ParsedPolicy =>
  parsed('cnp', 'normal', {
    endpointSelector: { matchLabels: { app: 'subject' } },
    ingress: [ports.length === 0 ? {} : { toPorts: [{ ports }] }],
  });

describe('tiers', () => {
  test('the admin tier decides first, its lower priority number before others', () => {
    const engine = engineWith(
      policy('a', [{ tier: 'admin', priority: 5, action: 'deny', peer: 'peer' }]),
      policy('b', [{ tier: 'admin', priority: 1, action: 'allow', peer: 'peer', port: 80 }]),
    );
    expect(verdicts(engine, [PEER, 80], [PEER, 81], [OTHER, 81])).toEqual(['allow', 'deny', 'allow']);
  });

  test('the baseline tier speaks only where nothing before it isolates', () => {
    const baseline = policy('base', [{ tier: 'baseline', action: 'deny', port: 80 }]);
    expect(verdicts(engineWith(baseline), [PEER, 80], [PEER, 81])).toEqual(['deny', 'allow']);
    const open = policy('open', [{ tier: 'baseline', action: 'allow' }]);
    const engine = engineWith(open, isolating([{ port: '80', protocol: 'TCP' }]));
    expect(verdicts(engine, [PEER, 80], [PEER, 81])).toEqual(['allow', 'miss']);
  });

  test('Pass hands over to the next tier for those it means, and for nobody else', () => {
    const engine = engineWith(
      policy('admin', [
        { tier: 'admin', action: 'pass', peer: 'peer' },
        { tier: 'admin', action: 'allow' },
      ]),
      isolating([{ port: '80', protocol: 'TCP' }]),
    );
    const answers = verdicts(engine, [PEER, 80], [PEER, 81], [OTHER, 81]);
    expect(answers).toEqual(['allow', 'deny', 'allow']);
    // A deny of no object is the default deny.
    expect(ask(engine, PEER, 81)?.origin).toBe(0);
  });

  test('Pass of one port opens no hole in a wider allow, and leaves no hole open', () => {
    const engine = engineWith(
      policy('admin', [
        { tier: 'admin', action: 'pass', port: 80 },
        { tier: 'admin', action: 'allow', peer: 'peer' },
      ]),
      isolating(),
    );
    expect(verdicts(engine, [PEER, 80], [PEER, 81], [OTHER, 80])).toEqual(['deny', 'allow', 'deny']);
  });
});

describe('an audited policy', () => {
  const audited = (one: ParsedPolicy): ParsedPolicy => ({ ...one, audited: true });
  const deny = parsed('cnp', 'deny', {
    endpointSelector: { matchLabels: { app: 'subject' } },
    ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: 'peer' } }] }],
    enableDefaultDeny: { ingress: false },
  });

  test('alone lets everything pass and says what it would drop', () => {
    const engine = engineWith(audited(isolating([{ port: '80', protocol: 'TCP' }])));
    expect(verdicts(engine, [PEER, 80], [PEER, 81])).toEqual(['allow', 'audit']);
    const ruleSet = engine.ruleSet(engine.subject(SUBJECT)!.ruleSet)!;
    expect(ruleSet.enforced.ingress).toBe(false);
    expect(ruleSet.origins[ask(engine, PEER, 81)!.origin - 1]).toMatchObject({
      name: 'normal',
      path: 'ingress[0]',
    });
  });

  test('changes no verdict of another policy, neither by a deny nor by an allow', () => {
    const enforced = isolating([{ port: '80', protocol: 'TCP' }]);
    const widening = {
      ...isolating([{ port: '81', protocol: 'TCP' }]),
      id: { ...enforced.id, name: 'wide' },
    };
    const engine = engineWith(enforced, audited(deny), audited(widening));
    expect(verdicts(engine, [PEER, 80], [OTHER, 80], [OTHER, 81])).toEqual(['audit', 'allow', 'deny']);
    expect(engine.ruleSet(engine.subject(SUBJECT)!.ruleSet)!.enforced.ingress).toBe(true);
  });
});

describe('policies of nodes', () => {
  const web = parsed('ccnp', 'nodes', {
    nodeSelector: { matchLabels: { role: 'web' } },
    ingress: [{ toPorts: [{ ports: [{ port: '22', protocol: 'TCP' }] }] }],
  });

  test('give each node the rule set of its labels', () => {
    const engine = engineWith(web);
    engine.updateNode('n1', [{ source: 'k8s', key: 'role', value: 'web' }]);
    engine.updateNode('n2', []);
    engine.compile();
    const subject = engine.subject(1)!;
    expect(Object.keys(subject.pods ?? {})).toEqual(['n1']);
    const answer = (id: string, port: number): string | undefined =>
      engine.mapState(id)!.lookup({ direction: 'ingress', identity: 2, protocol: 6, port })?.verdict;
    expect([answer(subject.pods!['n1']!, 22), answer(subject.pods!['n1']!, 23)]).toEqual([
      'allow',
      undefined,
    ]);
    expect(answer(subject.ruleSet, 23)).toBe('allow');
  });

  test('are noted as not enforced where the host firewall is off', () => {
    expect(web.unenforced.map(({ path }) => path)).toEqual(['spec.nodeSelector']);
  });
});

/** As rules of the other kinds are: all of one level. */
function sameLevel(one: ParsedPolicy): ParsedPolicy {
  const rules = one.rules.map((rule) => ({
    ...rule,
    items: rule.items.map((item) => ({ ...item, priority: 0 })),
  }));
  return { ...one, rules };
}

describe('a node that follows identities', () => {
  const sorted = (entries: Iterable<RuleSetEntry>): string[] =>
    [...entries].map((entry) => JSON.stringify(entry)).sort();
  /** What the kernel finds an entry by. */
  const keyOf = ({ direction, identity, protocol, port, portPrefix }: RuleSetEntry): string =>
    [direction, identity, protocol, port, portPrefix].join();

  test.each([
    [
      'a deny inside of what everybody may',
      [
        policy('w', [
          { tier: 'normal', action: 'allow' },
          { tier: 'normal', action: 'allow', port: 443 },
        ]),
        policy('d', [{ tier: 'normal', action: 'deny', peer: 'peer' }]),
      ].map((one) => sameLevel(one)),
    ],
    [
      'denies and allows',
      [
        isolating([{ port: '80', protocol: 'TCP' }]),
        policy('d', [{ tier: 'normal', action: 'deny', peer: 'peer' }]),
      ],
    ],
    [
      'Pass',
      [
        policy('p', [
          { tier: 'admin', action: 'pass', peer: 'peer' },
          { tier: 'admin', action: 'allow' },
        ]),
        isolating(),
      ],
    ],
    [
      'labels that change',
      [
        policy('l', [
          { tier: 'normal', action: 'allow', peer: 'peer', port: 80 },
          { tier: 'normal', action: 'deny', peer: 'other' },
        ]),
      ],
    ],
  ])('ends where one that knew them all begins: %s', (_, policies) => {
    const engine = engineWith(...policies);
    const { ruleSet } = engine.mapState(engine.subject(SUBJECT)!.ruleSet)!;
    const cache = new SelectorCache();
    const follower = new MapState(ruleSet, (selector) => cache.select(selector));
    const kernel = new Map([...follower.entries()].map((entry) => [keyOf(entry), entry]));
    const learn = (id: number, labels: ReturnType<typeof podLabels> | undefined): void => {
      cache.update(id, labels);
      const change = follower.update(id, (selector) => cache.select(selector).has(id));
      for (const entry of change.upserts) kernel.set(keyOf(entry), entry);
      for (const entry of change.deletes) expect(kernel.delete(keyOf(entry))).toBe(true);
    };
    learn(PEER, podLabels('ns', { app: 'other' }));
    learn(OTHER, podLabels('ns', { app: 'other' }));
    learn(400, podLabels('ns', { app: 'peer' }));
    learn(PEER, podLabels('ns', { app: 'peer' }));
    learn(400, undefined);
    const whole = new SelectorCache();
    whole.update(PEER, podLabels('ns', { app: 'peer' }));
    whole.update(OTHER, podLabels('ns', { app: 'other' }));
    const wanted = sorted(new MapState(ruleSet, (selector) => whole.select(selector)).entries());
    expect(sorted(follower.entries())).toEqual(wanted);
    expect(sorted(kernel.values())).toEqual(wanted);
  });

  test('treats pods that nobody has told of as meant by every deny', () => {
    const engine = engineWith(policy('d', [{ tier: 'normal', action: 'deny', peer: 'peer', port: 80 }]));
    expect(verdicts(engine, [3, 80], [3, 81], [OTHER, 80])).toEqual(['deny', 'allow', 'allow']);
  });
});
