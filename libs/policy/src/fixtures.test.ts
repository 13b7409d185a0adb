// SPDX-License-Identifier: Apache-2.0
// Tested: what policies as people write them parse to: implicit labels, entities, defaults, what is refused.
// How: every fixtures/NAME.yaml against NAME.expected.json beside it. With UPDATE_FIXTURES=1 the latter are written: read the difference.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { formatProblem } from './problem.ts';
import { parsePolicyText, type TextPolicy } from './policy-text.ts';
import type { Peers, PeerSelector, PortMatch, RuleItem } from './rule.ts';
import { selectorKey, type LabelSelector, type Requirement } from './selector.ts';

const DIRECTORY = join(process.cwd(), 'libs/policy/fixtures');
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'ICMPv4',
  2: 'IGMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  112: 'VRRP',
  132: 'SCTP',
};

function labels(selector: LabelSelector): string {
  const text = (requirement: Requirement): string => selectorKey([requirement]);
  return selector.length === 0 ? 'everything' : selector.map(text).join(' & ');
}

function peer(selector: PeerSelector): string {
  switch (selector.kind) {
    case 'labels':
      return labels(selector.selector);
    case 'cidr':
      return [selector.prefix, ...selector.except.map((hole) => `except ${hole}`)].join(' ');
    default: {
      const { kind, ...rest } = selector;
      const parts = Object.entries(rest).map(([key, value]) =>
        key === 'selector'
          ? `selector ${labels(value as unknown as LabelSelector)}`
          : `${key} ${String(value)}`.trim(),
      );
      return [kind, ...parts].join(' ');
    }
  }
}

function peers(list: Peers): string | string[] {
  return list === 'any' ? 'any' : list.map(peer);
}

function port({ protocols, from, to, name, unenforced }: PortMatch): string {
  const numbers = name ?? (from === to ? String(from) : `${from}-${to}`);
  const text = `${protocols.map((protocol) => PROTOCOLS[protocol] ?? protocol).join('/')} ${numbers}`;
  return unenforced ? `${text} (${unenforced.reason}, rank ${unenforced.rank})` : text;
}

function item(rule: RuleItem): object {
  const { direction, action, tier, priority, defaultDeny, ports, unenforced, origin } = rule;
  return {
    origin: `${origin.path}:${origin.line}`,
    rule: [direction, action, ...(tier === 'normal' ? [] : [tier, priority])].join(' '),
    defaultDeny,
    peers: peers(rule.peers),
    ports: ports === 'any' ? 'any' : ports.map(port),
    ...(unenforced ? { unenforced: unenforced.reason } : {}),
  };
}

/** An object's meaning as texts that a person can compare with the policy. */
function describePolicy({ kind, namespace, name, result }: TextPolicy): object {
  const object = [kind, namespace, name].filter((part) => part !== undefined).join('/');
  if (!result.ok) return { object, refused: result.error.map(formatProblem) };
  const { rules, unenforced } = result.value;
  return {
    object,
    rules: rules.map(({ on, subject, items }) => ({ on, subject: labels(subject), items: items.map(item) })),
    ...(unenforced.length > 0 ? { unenforced: unenforced.map(({ path }) => path) } : {}),
  };
}

const names = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));

describe('fixtures', () => {
  test.each(names)('%s', (name) => {
    const text = readFileSync(join(DIRECTORY, `${name}.yaml`), 'utf8');
    const found = parsePolicyText(text, { cluster: 'default' })
      .filter(({ kind }) => kind !== 'CiliumCIDRGroup')
      .map(describePolicy);
    const expected = join(DIRECTORY, `${name}.expected.json`);
    if (process.env['UPDATE_FIXTURES'] === '1')
      writeFileSync(expected, `${JSON.stringify(found, undefined, 2)}\n`);
    expect(found).toEqual(JSON.parse(readFileSync(expected, 'utf8')));
  });
});
