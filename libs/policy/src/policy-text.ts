// SPDX-License-Identifier: Apache-2.0
// Policies as somebody wrote them into a file: YAML documents or JSON, with the file's own lines as places.
import { LineCounter, isMap, isScalar, isSeq, parseAllDocuments, type Document, type Node } from 'yaml';
import { parseClusterPolicy } from './parse-cluster-policy.ts';
import { parseKubernetesPolicy } from './parse-kubernetes.ts';
import { parseCiliumPolicy, type ParseResult, type PolicyObject } from './parse-object.ts';
import type { ParseOptions, ParsedPolicy } from './rule.ts';
import type { Origin } from './rule-set.ts';

export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

export interface TextPolicy {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Origins carry lines of the text. */
  readonly result: ParseResult;
  /** Line of a path such as `spec.egress[0]`, or of what encloses it; counted from 1. */
  readonly lineOf: (path: string) => number;
  readonly placeOf: (path: string) => TextPlace;
}

const PARSERS: Readonly<Record<string, (object: PolicyObject, options: ParseOptions) => ParseResult>> = {
  CiliumNetworkPolicy: parseCiliumPolicy,
  CiliumClusterwideNetworkPolicy: parseCiliumPolicy,
  NetworkPolicy: parseKubernetesPolicy,
  ClusterNetworkPolicy: parseClusterPolicy,
};

/** Every policy of the text; what is no policy, or no YAML, has its problem in `result`. */
export function parsePolicyText(text: string, options: ParseOptions): TextPolicy[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines });
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document) => objectsOf(document, lines, options));
}

function objectsOf(document: Document, lines: LineCounter, options: ParseOptions): TextPolicy[] {
  const [error] = document.errors;
  if (error) {
    const place = placeAt(lines, error.pos[0]);
    const message = error.message.split('\n')[0]!;
    const result: ParseResult = { ok: false, error: [{ path: '', message }] };
    const places = { lineOf: () => place.line, placeOf: () => place };
    return [{ apiVersion: '', kind: '', namespace: undefined, name: '', result, ...places }];
  }
  const root = document.contents as Node | null;
  if (!root) return [];
  const items = isMap(root) && root.get('kind') === 'List' ? root.get('items', true) : undefined;
  const nodes = isSeq(items) ? (items.items as Node[]) : [root];
  return nodes.map((node) => objectOf(node, node.toJS(document), lines, options));
}

function placeAt(lines: LineCounter, offset: number): TextPlace {
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

function objectOf(node: Node, value: unknown, lines: LineCounter, options: ParseOptions): TextPolicy {
  const object = (typeof value === 'object' && value !== null ? value : {}) as PolicyObject & {
    readonly apiVersion?: unknown;
    readonly metadata?: { readonly name?: string; readonly namespace?: string };
  };
  const placeOf = (path: string): TextPlace => placeAt(lines, offsetOf(node, path));
  const lineOf = (path: string): number => placeOf(path).line;
  const { metadata } = object;
  const kind = typeof object.kind === 'string' ? object.kind : '';
  const apiVersion = typeof object.apiVersion === 'string' ? object.apiVersion : '';
  const namespaced = kind !== 'CiliumClusterwideNetworkPolicy' && kind !== 'ClusterNetworkPolicy';
  const namespace = namespaced ? (metadata?.namespace ?? 'default') : metadata?.namespace;
  const names = { apiVersion, kind, namespace, name: metadata?.name ?? '', lineOf, placeOf };
  const parse = PARSERS[kind];
  if (!parse) {
    const message = `${JSON.stringify(kind)} is not one of ${Object.keys(PARSERS).join(', ')}`;
    return { ...names, result: { ok: false, error: [{ path: 'kind', message }] } };
  }
  const whole = { ...object, metadata: { ...metadata, ...(namespace === undefined ? {} : { namespace }) } };
  const result = parse(whole as PolicyObject, options);
  return { ...names, result: result.ok ? { ok: true, value: withLines(result.value, lineOf) } : result };
}

function withLines(policy: ParsedPolicy, lineOf: (path: string) => number): ParsedPolicy {
  const place = (origin: Origin): Origin => {
    const path = origin.path.startsWith('specs[') ? origin.path : `spec.${origin.path}`;
    return { ...origin, line: lineOf(path) };
  };
  const rules = policy.rules.map((rule) => ({
    ...rule,
    items: rule.items.map((item) => ({
      ...item,
      origin: place(item.origin),
      ports:
        item.ports === 'any'
          ? item.ports
          : item.ports.map((port) => ({ ...port, origin: place(port.origin) })),
    })),
  }));
  return { ...policy, rules };
}

/** Of a key where the key stands, of a list's item where the item begins. */
function offsetOf(root: Node, path: string): number {
  let node: unknown = root;
  let offset = root.range?.[0] ?? 0;
  for (const step of path.match(/[^.[\]]+/g) ?? []) {
    if (isSeq(node)) {
      const item = node.items[Number(step)] as Node | undefined;
      if (!item) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
      if (!pair) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else break;
  }
  return offset;
}
