// SPDX-License-Identifier: Apache-2.0
// Kubernetes label selectors over labels with a source: `k8s:app=web`; a key without a source means any.
import { AppError } from '@cilium-ts/base';

interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent';
  readonly values: readonly string[];
}

const SET = /^([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)$/;
const EQUALITY = /^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$/;
const PRESENCE = /^(!?)\s*([^\s!=,()]+)$/;

/** @throws AppError `bad-filter` */
export function labelSelector(text: string): (labels: readonly string[]) => boolean {
  const requirements = splitTerms(text).map((term) => requirement(term, text));
  return (labels) => requirements.every((wanted) => meets(labels, wanted));
}

/** Commas separate, except inside parentheses. */
function splitTerms(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== '');
}

function requirement(term: string, text: string): Requirement {
  const set = SET.exec(term);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    return { key: set[1]!, operator: set[2] as 'in', values };
  }
  const equality = EQUALITY.exec(term);
  if (equality)
    return { key: equality[1]!, operator: equality[2] === '!=' ? 'notin' : 'in', values: [equality[3]!] };
  const presence = PRESENCE.exec(term);
  if (presence) return { key: presence[2]!, operator: presence[1] === '!' ? 'absent' : 'exists', values: [] };
  throw new AppError('bad-filter', `bad label selector ${JSON.stringify(text)} at ${JSON.stringify(term)}`);
}

function meets(labels: readonly string[], { key, operator, values }: Requirement): boolean {
  const found = valuesOf(labels, key);
  switch (operator) {
    case 'exists':
      return found.length > 0;
    case 'absent':
      return found.length === 0;
    case 'in':
      return found.some((value) => values.includes(value));
    case 'notin':
      return !found.some((value) => values.includes(value));
  }
}

function valuesOf(labels: readonly string[], key: string): string[] {
  const wanted = key.startsWith('any:') ? key.slice(4) : key;
  const found: string[] = [];
  for (const label of labels) {
    const equals = label.indexOf('=');
    const name = equals < 0 ? label : label.slice(0, equals);
    const colon = name.indexOf(':');
    if (name === wanted || (colon >= 0 && name.slice(colon + 1) === wanted)) {
      found.push(equals < 0 ? '' : label.slice(equals + 1));
    }
  }
  return found;
}
