// SPDX-License-Identifier: Apache-2.0
// Policies as somebody wrote them into a file: YAML documents or JSON, with the file's own lines as places.
import { LineCounter, isMap, isScalar, isSeq, parseAllDocuments, type Document, type Node } from 'yaml';
import { parseKubernetesPolicy } from './parse-kubernetes.ts';
import { parseCiliumPolicy, type ParseResult, type PolicyObject } from './parse-object.ts';
import type { ParseOptions, ParsedPolicy } from './rule.ts';
import type { Origin } from './rule-set.ts';

export interface TextPolicy {
  readonly kind: string;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Origins carry lines of the text. */
  readonly result: ParseResult;
  /** Line of a path such as `spec.egress[0]`, or of what encloses it; counted from 1. */
  readonly lineOf: (path: string) => number;
}

const PARSERS: Readonly<Record<string, (object: PolicyObject, options: ParseOptions) => ParseResult>> = {
  CiliumNetworkPolicy: parseCiliumPolicy,
  CiliumClusterwideNetworkPolicy: parseCiliumPolicy,
  NetworkPolicy: parseKubernetesPolicy,
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
    const { line } = lines.linePos(error.pos[0]);
    const message = error.message.split('\n')[0]!;
    const result: ParseResult = { ok: false, error: [{ path: '', message }] };
    return [{ kind: '', namespace: undefined, name: '', result, lineOf: () => line }];
  }
  const root = document.contents as Node | null;
  if (!root) return [];
  const items = isMap(root) && root.get('kind') === 'List' ? root.get('items', true) : undefined;
  const nodes = isSeq(items) ? (items.items as Node[]) : [root];
  return nodes.map((node) => objectOf(node, node.toJS(document), lines, options));
}

function objectOf(node: Node, value: unknown, lines: LineCounter, options: ParseOptions): TextPolicy {
  const object = (typeof value === 'object' && value !== null ? value : {}) as PolicyObject & {
    readonly metadata?: { readonly name?: string; readonly namespace?: string };
  };
  const lineOf = (path: string): number => lines.linePos(offsetOf(node, path)).line;
  const { kind = '', metadata } = object;
  const namespaced = kind !== 'CiliumClusterwideNetworkPolicy';
  const namespace = namespaced ? (metadata?.namespace ?? 'default') : metadata?.namespace;
  const names = { kind, namespace, name: metadata?.name ?? '', lineOf };
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
