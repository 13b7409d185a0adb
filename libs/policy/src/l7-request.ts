// SPDX-License-Identifier: Apache-2.0
// A request in words, judged by the L7 rules of a policy: what would pass, and what came closest.
import { AppError } from '@cilium-ts/base';

export type L7Family = 'http' | 'kafka' | 'dns' | 'other';

/** The L7 rules of one port rule, as the object has them. */
export interface L7Rules {
  readonly family: L7Family;
  readonly rules: readonly Readonly<Record<string, unknown>>[];
}

export type L7Request =
  | {
      readonly family: 'http';
      readonly method: string;
      readonly path: string;
      readonly host: string | undefined;
      /** Names in lower case. */
      readonly headers: ReadonlyMap<string, string>;
    }
  | { readonly family: 'dns'; readonly name: string };

export interface L7Answer {
  /** Index of the rule that lets the request pass; undefined: none does. */
  readonly allowedBy: number | undefined;
  /** Of the rule that came closest: its index, and in which fields it differs. */
  readonly nearest: { readonly index: number; readonly text: string } | undefined;
}

const FORMS = "'METHOD [http://HOST]/PATH', then a line 'Name: value' for each header; or 'DNS name'";

/** `GET /x`, `GET http://shop/x`, `DNS api.example.com`. @throws AppError `bad-request` with the possible forms */
export function parseL7Request(text: string): L7Request {
  const [first = '', ...lines] = text.split('\n').map((line) => line.trim());
  const dns = /^DNS\s+(\S+)$/i.exec(first);
  if (dns && lines.length === 0) return { family: 'dns', name: dns[1]!.toLowerCase().replace(/\.$/, '') };
  const request = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s+(?:https?:\/\/([^/\s]+))?(\/\S*)$/.exec(first);
  if (!request)
    throw new AppError('bad-request', `l7: ${JSON.stringify(text)} is no request; possible: ${FORMS}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined)
      throw new AppError('bad-request', `l7: ${JSON.stringify(line)} is no header; possible: ${FORMS}`);
    headers.set(name.toLowerCase(), value!);
  }
  const [, method, authority, path] = request;
  return { family: 'http', method: method!, path: path!, host: authority ?? headers.get('host'), headers };
}

/** True for any rule that matches all of its fields; without rules nothing is restricted. */
export function judgeL7({ family, rules }: L7Rules, request: L7Request): L7Answer {
  if (family !== request.family) return { allowedBy: undefined, nearest: undefined };
  let nearest: { index: number; misses: string[] } | undefined;
  for (const [index, rule] of rules.entries()) {
    const misses = request.family === 'dns' ? dnsMisses(rule, request.name) : httpMisses(rule, request);
    if (misses.length === 0) return { allowedBy: index, nearest: undefined };
    if (!nearest || misses.length < nearest.misses.length) nearest = { index, misses };
  }
  return {
    allowedBy: undefined,
    nearest: nearest && { index: nearest.index, text: nearest.misses.join('; ') },
  };
}

function httpMisses(
  rule: Readonly<Record<string, unknown>>,
  request: Extract<L7Request, { family: 'http' }>,
): string[] {
  const fields = ['method', 'path', 'host'] as const;
  const misses = fields.flatMap((field) => {
    const pattern = rule[field];
    if (typeof pattern !== 'string' || pattern === '') return [];
    const value = request[field];
    if (value !== undefined && matchesWhole(pattern, value)) return [];
    return [`${field} ${value ?? 'not given'}, rule has ${pattern}`];
  });
  for (const header of listOf(rule['headers'])) {
    const [, name = '', value] = /^(\S+?):?(?:\s+(.*))?$/.exec(String(header)) ?? [];
    misses.push(...headerMiss(request.headers, name, value));
  }
  for (const match of listOf(rule['headerMatches']) as Readonly<Record<string, unknown>>[]) {
    // Other actions than failing let the request pass, changed or logged.
    if (match['mismatch'] !== undefined && match['mismatch'] !== '') continue;
    misses.push(...headerMiss(request.headers, String(match['name']), match['value'] as string | undefined));
  }
  return misses;
}

function headerMiss(headers: ReadonlyMap<string, string>, name: string, value: string | undefined): string[] {
  const given = headers.get(name.toLowerCase());
  if (given === undefined) return [`header ${name} is missing`];
  return value === undefined || given === value ? [] : [`header ${name} is ${given}, rule has ${value}`];
}

function dnsMisses(rule: Readonly<Record<string, unknown>>, name: string): string[] {
  const [exact, pattern] = [rule['matchName'], rule['matchPattern']];
  if (typeof exact === 'string')
    return exact.toLowerCase().replace(/\.$/, '') === name ? [] : [`name ${name}, rule has ${exact}`];
  if (typeof pattern !== 'string' || pattern === '*' || pattern === '**') return [];
  return dnsPattern(pattern).test(name) ? [] : [`name ${name}, rule has ${pattern}`];
}

/** `*` stands for letters, digits, `-` and `_` of one label, `**.` in front for one or more labels. */
function dnsPattern(pattern: string): RegExp {
  const text = pattern.toLowerCase().replace(/\.$/, '');
  const deep = text.startsWith('**.');
  const rest = (deep ? text.slice(3) : text).replaceAll('.', '\\.').replaceAll(/\*+/g, '[-a-z0-9_]*');
  return new RegExp(`^${deep ? '([-a-z0-9_]+\\.)+' : ''}${rest}$`);
}

/** RE2 matches the whole text here; its flags in front become those of JavaScript. */
function matchesWhole(pattern: string, value: string): boolean {
  const [, flags = '', rest = ''] = /^(?:\(\?([ims]+)\))?([\s\S]*)$/.exec(pattern) ?? [];
  try {
    return new RegExp(`^(?:${rest.replaceAll('(?P<', '(?<')})$`, flags).test(value);
  } catch {
    // RE2 knows words that JavaScript does not: better called a miss, which shows the pattern, than a match.
    return false;
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}
