// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from './model.ts';
import { badRequest } from './status.ts';

export type Labels = Readonly<Record<string, string>>;

interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'gt' | 'lt';
  readonly values: readonly string[];
}

const SET = /^([^\s!=<>,()]+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^\s!=<>,()]+)\s*(==|=|!=|>|<)\s*([^\s,()]*)$/;
const NAME = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** Splits at commas outside parentheses. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '(') depth++;
    else if (char === ')') depth--;
    else if (char === ',' && depth === 0) {
      terms.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  terms.push(text.slice(start).trim());
  return terms.filter((term) => term !== '');
}

function parseTerm(term: string): Requirement {
  const set = SET.exec(term);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    return checked({ key: set[1]!, operator: set[2] === 'in' ? 'in' : 'notin', values }, term);
  }
  const equal = EQUALITY.exec(term);
  if (equal) {
    const operator = ({ '!=': 'notin', '>': 'gt', '<': 'lt' } as const)[equal[2] as '!='] ?? 'in';
    return checked({ key: equal[1]!, operator, values: [equal[3]!] }, term);
  }
  if (term.startsWith('!'))
    return checked({ key: term.slice(1).trim(), operator: 'absent', values: [] }, term);
  return checked({ key: term, operator: 'exists', values: [] }, term);
}

function checked(requirement: Requirement, term: string): Requirement {
  if (NAME.test(requirement.key)) return requirement;
  throw badRequest(`unable to parse requirement: invalid label selector term "${term}"`);
}

function holds(requirement: Requirement, labels: Labels): boolean {
  const value = labels[requirement.key];
  switch (requirement.operator) {
    case 'in':
      return value !== undefined && requirement.values.includes(value);
    case 'notin':
      return value === undefined || !requirement.values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'gt':
      return value !== undefined && Number(value) > Number(requirement.values[0]);
    case 'lt':
      return value !== undefined && Number(value) < Number(requirement.values[0]);
  }
}

/** Parses a `labelSelector` query. Throws 400 for a malformed one. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const requirements = splitTerms(text).map(parseTerm);
  return (labels) => requirements.every((requirement) => holds(requirement, labels));
}

/** A `LabelSelector` object (matchLabels, matchExpressions) as the text form used in `scale.status.selector`. */
export function selectorText(selector: {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly { key: string; operator: string; values?: readonly string[] }[];
}): string {
  const terms = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    if (operator === 'In') terms.push(`${key} in (${(values ?? []).join(',')})`);
    else if (operator === 'NotIn') terms.push(`${key} notin (${(values ?? []).join(',')})`);
    else terms.push(operator === 'Exists' ? key : `!${key}`);
  }
  return terms.join(',');
}

/** Fields that may be selected on, beside `metadata.name` and `metadata.namespace`. */
const SELECTABLE: Readonly<Record<string, readonly string[]>> = {
  '/pods': [
    'spec.nodeName',
    'status.phase',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  '/events': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  '/nodes': ['spec.unschedulable'],
  '/namespaces': ['status.phase'],
  '/secrets': ['type'],
  '/services': ['spec.clusterIP', 'spec.type'],
  'apps/replicasets': ['status.replicas'],
  'batch/jobs': ['status.successful'],
};

function readField(object: KubeObject, path: string): string {
  if (path === 'source') return String(object.source?.component ?? '');
  let value: unknown = object;
  for (const part of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[part];
  return value === undefined || value === null ? '' : String(value);
}

/** Parses a `fieldSelector` query for a resource kept under `storage`. Throws 400 for fields it cannot select. */
export function parseFieldSelector(text: string, storage: string): (object: KubeObject) => boolean {
  const terms = splitTerms(text).map((term) => {
    const match = /^([^!=]+?)\s*(==|=|!=)\s*(.*)$/.exec(term);
    if (!match) throw badRequest(`invalid field selector term "${term}"; want field=value or field!=value`);
    return { path: match[1]!, equal: match[2] !== '!=', value: match[3]!.replace(/\\(.)/g, '$1') };
  });
  const allowed = ['metadata.name', 'metadata.namespace', ...(SELECTABLE[storage] ?? [])];
  for (const { path } of terms)
    if (!allowed.includes(path)) throw badRequest(`field label not supported: ${path}`);
  return (object) =>
    terms.every(({ path, equal, value }) => {
      const actual = readField(object, path);
      const wanted = actual === '' && value === 'false' ? '' : value;
      return (actual === wanted) === equal;
    });
}
