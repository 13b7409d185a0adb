// SPDX-License-Identifier: Apache-2.0
// The parts of a port rule that no L4 map can decide. They are checked for shape, and turn the rule into one that is
// dropped with a reason of its own until something enforces them.
import type { L7Family, L7Rules } from './l7-request.ts';
import type { ItemContext } from './parse-context.ts';
import {
  RANK_DNS,
  RANK_HTTP,
  RANK_KAFKA,
  RANK_L7PROTO,
  RANK_LISTENER,
  RANK_REDIRECT,
  RANK_TLS,
  type UnenforcedCondition,
} from './rule.ts';

const FAMILIES: Readonly<Record<string, { rank: number; fields: readonly string[] }>> = {
  http: { rank: RANK_HTTP, fields: ['path', 'method', 'host', 'headers', 'headerMatches'] },
  kafka: { rank: RANK_KAFKA, fields: ['role', 'apiKey', 'apiVersion', 'clientID', 'topic'] },
  dns: { rank: RANK_DNS, fields: ['matchName', 'matchPattern'] },
};

/** Validates the L7 part of a port rule; returns the condition under which it would allow, or undefined for plain L4. */
export function parseL7(
  context: ItemContext,
  object: Record<string, unknown>,
  where: string,
  ports: readonly unknown[],
): UnenforcedCondition | undefined {
  const conditions: UnenforcedCondition[] = [];
  const rules = parseRules(context, object['rules'], `${where}.rules`, ports);
  if (rules) conditions.push(rules);
  const names = context.read.list(object['serverNames'], context.at(`${where}.serverNames`));
  names?.forEach((name, index) => {
    const path = context.at(`${where}.serverNames[${index}]`);
    if (context.read.text(name, path) === '') context.read.fail(path, 'must not be empty');
  });
  if (names && names.length > 0)
    conditions.push(note(context, `${where}.serverNames`, 'TLS server names', RANK_TLS));
  for (const field of ['terminatingTLS', 'originatingTLS']) {
    if (object[field] === undefined || object[field] === null) continue;
    conditions.push(note(context, `${where}.${field}`, 'TLS interception', RANK_TLS));
  }
  const listener = parseListener(context, object['listener'], `${where}.listener`);
  if (listener) conditions.push(listener);
  if (rules && listener)
    context.read.fail(context.at(`${where}.listener`), 'cannot be combined with L7 rules');
  const terminated = object['terminatingTLS'] !== undefined && object['terminatingTLS'] !== null;
  if (rules && names && names.length > 0 && !terminated)
    context.read.fail(
      context.at(`${where}.serverNames`),
      'cannot be combined with L7 rules without terminatingTLS',
    );
  const [first] = conditions.sort((a, b) => b.rank - a.rank);
  const l7 = rules?.l7 ? { l7: rules.l7 } : {};
  return first && { ...first, terms: termsOf(object, rules?.reason, listener?.rank), ...l7 };
}

/** TLS contexts by what they refer to; listeners differ only where none of them goes first. */
function termsOf(
  object: Record<string, unknown>,
  parser: string | undefined,
  listenerRank: number | undefined,
): NonNullable<UnenforcedCondition['terms']> {
  const tls = [object['terminatingTLS'], object['originatingTLS']].map((value) => value ?? null);
  return {
    ...(parser === undefined ? {} : { 'L7 rules': parser }),
    ...(tls.every((value) => value === null) ? {} : { TLS: JSON.stringify(tls) }),
    ...(listenerRank === undefined
      ? {}
      : { listener: `${JSON.stringify(object['listener'])} at rank ${listenerRank}` }),
  };
}

function parseListener(context: ItemContext, value: unknown, where: string): UnenforcedCondition | undefined {
  const { read } = context;
  const object = read.object(value, context.at(where), ['envoyConfig', 'name', 'priority']);
  if (!object) return undefined;
  if (context.direction === 'ingress') read.fail(context.at(where), 'is for egress only');
  const priority = read.integer(object['priority'], context.at(`${where}.priority`), 0, 100) ?? 0;
  return note(context, where, 'a proxy listener', priority === 0 ? RANK_LISTENER : RANK_REDIRECT - priority);
}

function note(context: ItemContext, where: string, what: string, rank: number): UnenforcedCondition {
  context.unenforced(where, `${what}: not enforced yet, so this traffic is dropped`);
  return { reason: what, rank };
}

function parseRules(
  context: ItemContext,
  value: unknown,
  where: string,
  ports: readonly unknown[],
): UnenforcedCondition | undefined {
  const { read } = context;
  const path = context.at(where);
  const object = read.object(value, path, ['http', 'kafka', 'dns', 'l7proto', 'l7']);
  if (!object) return undefined;
  const present = Object.keys(FAMILIES).filter(
    (name) => (read.list(object[name], `${path}.${name}`) ?? []).length > 0,
  );
  const generic = read.text(object['l7proto'], `${path}.l7proto`);
  const l7 = read.list(object['l7'], `${path}.l7`);
  if (l7 && generic === undefined) read.fail(`${path}.l7`, 'needs l7proto');
  if (present.length + (generic === undefined ? 0 : 1) > 1) {
    read.fail(
      path,
      `only one of http, kafka, dns, l7proto in one rule, not ${[...present, ...(generic ? ['l7proto'] : [])].join(' and ')}`,
    );
  }
  if (generic !== undefined) {
    checkPorts(context, 'l7proto', ports, path);
    const condition = note(context, `${where}.l7proto`, `L7 rules (${generic})`, RANK_L7PROTO);
    return { ...condition, l7: { family: 'other', rules: [] } };
  }
  const name = present[0];
  if (name === undefined) return undefined;
  parseFamily(context, name, object[name] as unknown[], `${path}.${name}`);
  checkPorts(context, name, ports, path);
  const condition = note(context, `${where}.${name}`, `L7 rules (${name})`, FAMILIES[name]!.rank);
  return { ...condition, l7: { family: name as L7Family, rules: object[name] as L7Rules['rules'] } };
}

const KAFKA_ROLES: readonly string[] = ['produce', 'consume'];
const MISMATCH_ACTIONS: readonly string[] = ['LOG', 'ADD', 'DELETE', 'REPLACE'];

function checkHeaderMatches(context: ItemContext, value: unknown, path: string): void {
  const { read } = context;
  read.list(value, path)?.forEach((item, index) => {
    const at = `${path}[${index}]`;
    const object = read.object(item, at, ['name', 'value', 'secret', 'mismatch']) ?? {};
    if (!read.text(object['name'], `${at}.name`)) read.fail(`${at}.name`, 'is missing');
    read.text(object['value'], `${at}.value`);
    const action = read.text(object['mismatch'], `${at}.mismatch`) ?? '';
    if (action !== '' && !MISMATCH_ACTIONS.includes(action))
      read.fail(`${at}.mismatch`, `${JSON.stringify(action)} is not one of ${MISMATCH_ACTIONS.join(', ')}`);
    const secret = read.object(object['secret'], `${at}.secret`, ['namespace', 'name']);
    if (secret && !read.text(secret['name'], `${at}.secret.name`))
      read.fail(`${at}.secret.name`, 'is missing');
  });
}

function parseFamily(context: ItemContext, name: string, rules: unknown[], path: string): void {
  const { read } = context;
  if (name === 'dns' && context.direction === 'ingress') read.fail(path, 'DNS rules are for egress only');
  rules.forEach((rule, index) => {
    const at = `${path}[${index}]`;
    const object = read.object(rule, at, FAMILIES[name]!.fields);
    if (!object) return;
    if (name === 'http') {
      for (const field of ['path', 'method']) checkRegex(context, object[field], `${at}.${field}`);
      checkHeaderMatches(context, object['headerMatches'], `${at}.headerMatches`);
    }
    if (name === 'dns') checkDnsName(context, object, at);
    if (name === 'kafka' && object['role'] !== undefined && object['apiKey'] !== undefined) {
      read.fail(at, 'role and apiKey exclude each other');
    }
    const role = name === 'kafka' ? read.text(object['role'], `${at}.role`) : undefined;
    if (role !== undefined && !KAFKA_ROLES.includes(role.toLowerCase()))
      read.fail(`${at}.role`, `${JSON.stringify(role)} is not one of ${KAFKA_ROLES.join(', ')}`);
  });
}

/** What RE2 has no counterpart of: it would be refused where the rule is enforced. */
function beyondRe2(text: string): string | undefined {
  for (const [token] of text.matchAll(/\\[\s\S]|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]|\(\?(?:<?[=!])/g)) {
    if (/^\\[1-9k]/.test(token)) return 'backreferences';
    if (token.startsWith('(?')) return 'lookahead and lookbehind';
  }
  return undefined;
}

/** RE2's own spellings that JavaScript has not: flags in front, `(?P<name>`, `\A`, `\z`, `[[:alpha:]]`. */
function withoutRe2Spellings(text: string): string {
  return text
    .replaceAll('(?P<', '(?<')
    .replace(/\(\?[imsU]*(?:-[imsU]+)?\)/g, '')
    .replace(/\(\?[imsU]*(?:-[imsU]+)?:/g, '(?:')
    .replace(/\[:\^?[a-z]+:\]/g, 'a');
}

function checkRegex(context: ItemContext, value: unknown, path: string): void {
  const text = context.read.text(value, path);
  if (text === undefined) return;
  const beyond = beyondRe2(text);
  if (beyond !== undefined) {
    context.read.fail(path, `invalid regular expression: ${beyond} are not possible`);
    return;
  }
  try {
    new RegExp(withoutRe2Spellings(text));
  } catch (error) {
    const message = error instanceof Error ? error.message : 'unknown';
    context.read.fail(path, `invalid regular expression: ${message}`);
  }
}

/** Checks a `matchName`/`matchPattern` pair of a DNS rule or a toFQDNs entry. */
export function checkDnsName(context: ItemContext, object: Record<string, unknown>, path: string): void {
  const { read } = context;
  const name = read.text(object['matchName'], `${path}.matchName`);
  const pattern = read.text(object['matchPattern'], `${path}.matchPattern`);
  if ((name === undefined) === (pattern === undefined)) {
    read.fail(path, 'needs exactly one of matchName and matchPattern');
    return;
  }
  const field = name === undefined ? 'matchPattern' : 'matchName';
  const text = name ?? pattern ?? '';
  const allowed = name === undefined ? /^[-a-zA-Z0-9_.*]+$/ : /^[-a-zA-Z0-9_.]+$/;
  if (text.length > 255 || !allowed.test(text)) {
    read.fail(
      `${path}.${field}`,
      `${JSON.stringify(text)} is not a DNS ${field === 'matchName' ? 'name' : 'pattern'} (letters, digits, - _ .${field === 'matchName' ? '' : ' *'}, at most 255)`,
    );
  }
}

function checkPorts(context: ItemContext, name: string, ports: readonly unknown[], path: string): void {
  if (ports.length === 0) context.read.fail(path, 'L7 rules need ports');
  for (const port of ports) {
    const { port: number, protocol, endPort } = (port ?? {}) as Readonly<Record<string, unknown>>;
    if (number === '0') context.read.fail(path, `${name} rules cannot be for every port`);
    const text = typeof protocol === 'string' && protocol !== '' ? protocol.toUpperCase() : 'ANY';
    if (name === 'dns' && typeof endPort === 'number' && endPort > 0) {
      context.read.fail(path, 'DNS rules cannot be combined with a port range');
    }
    const fits = name === 'dns' ? ['TCP', 'UDP', 'ANY'].includes(text) : text === 'TCP';
    if (!fits)
      context.read.fail(
        path,
        `${name} rules need protocol ${name === 'dns' ? 'TCP, UDP or ANY' : 'TCP'}, not ${text}`,
      );
  }
}
