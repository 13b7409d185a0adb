// SPDX-License-Identifier: Apache-2.0
import { LABEL_CLUSTER, LABEL_NAMESPACE, LABEL_NAMESPACE_LABELS } from '@cilium-ts/identity';
import { err, ok } from '@cilium-ts/base';
import { formatPrefix, parsePrefix, prefixContains } from '@cilium-ts/net';
import { readAudit, type ParseResult, type PolicyObject } from './parse-object.ts';
import { Reader } from './problem.ts';
import type { ParseOptions, Peers, PeerSelector, PolicyName, PortMatch, RuleItem } from './rule.ts';
import type { Direction, Origin } from './rule-set.ts';
import { parseSelector, requireKey, requireValue, type LabelSelector } from './selector.ts';
import { yamlLines } from './yaml-lines.ts';

interface Context {
  readonly read: Reader;
  readonly namespace: string;
  readonly options: ParseOptions;
  readonly origin: (path: string) => Origin;
}

/** Parses a Kubernetes NetworkPolicy (networking.k8s.io/v1). */
export function parseKubernetesPolicy(object: PolicyObject, options: ParseOptions): ParseResult {
  const read = new Reader();
  const namespace = object.metadata?.namespace ?? 'default';
  const id: PolicyName = { kind: 'NetworkPolicy', namespace, name: object.metadata?.name ?? '' };
  const spec =
    read.object(object.spec ?? {}, 'spec', ['podSelector', 'policyTypes', 'ingress', 'egress']) ?? {};
  const lines = yamlLines(spec);
  const origin = (path: string): Origin => ({ ...id, path, line: lines.get(path) ?? 0 });
  const context: Context = { read, namespace, options, origin };
  const podSelector = parseSelector(read, spec['podSelector'], 'spec.podSelector', 'k8s');
  const subject = [...podSelector, requireValue('k8s', LABEL_NAMESPACE, namespace)];
  const types = policyTypes(read, spec);
  const items = types.flatMap((direction) => parseDirection(context, direction, spec[direction]));
  const audited = readAudit(read, object);
  return read.problems.length > 0
    ? err(read.problems)
    : ok({ id, rules: [{ on: 'endpoints', subject, items }], audited, unenforced: [] });
}

/** Egress only if listed or written; ingress unless only egress is listed. */
function policyTypes(read: Reader, spec: Record<string, unknown>): Direction[] {
  const listed = read.list(spec['policyTypes'], 'spec.policyTypes');
  listed?.forEach((type, index) => {
    if (type !== 'Ingress' && type !== 'Egress')
      read.fail(`spec.policyTypes[${index}]`, `${JSON.stringify(type)} is not one of Ingress, Egress`);
  });
  const types: Direction[] = [];
  const egressWritten = Array.isArray(spec['egress']) && spec['egress'].length > 0;
  if (!listed || listed.length === 0 || listed.includes('Ingress')) types.push('ingress');
  if (listed?.includes('Egress') || ((!listed || listed.length === 0) && egressWritten)) types.push('egress');
  return types;
}

function parseDirection(context: Context, direction: Direction, value: unknown): RuleItem[] {
  const { read } = context;
  const rules = read.list(value, `spec.${direction}`) ?? [];
  const base = { direction, action: 'allow', tier: 'normal', priority: 0, defaultDeny: true } as const;
  if (rules.length === 0) return [{ ...base, peers: [], ports: 'any', origin: context.origin(direction) }];
  const side = direction === 'ingress' ? 'from' : 'to';
  return rules.map((rule, index) => {
    const where = `${direction}[${index}]`;
    const object = read.object(rule ?? {}, `spec.${where}`, [side, 'ports']) ?? {};
    const ports = read.list(object['ports'], `spec.${where}.ports`) ?? [];
    const matches = ports.flatMap((port, at) => parsePort(context, port, `${where}.ports[${at}]`));
    return {
      ...base,
      peers: parsePeers(context, object[side], `${where}.${side}`),
      ports: ports.length === 0 ? 'any' : matches,
      origin: context.origin(where),
    };
  });
}

function parsePeers(context: Context, value: unknown, where: string): Peers {
  const list = context.read.list(value, `spec.${where}`) ?? [];
  if (list.length === 0) return 'any';
  return list.flatMap((peer, index) => parsePeer(context, peer, `${where}[${index}]`));
}

function parsePeer(context: Context, value: unknown, where: string): PeerSelector[] {
  const { read } = context;
  const path = `spec.${where}`;
  const object = read.object(value, path, ['podSelector', 'namespaceSelector', 'ipBlock']);
  if (!object) return [];
  const has = (name: string): boolean => object[name] !== undefined && object[name] !== null;
  if (has('ipBlock')) {
    if (has('podSelector') || has('namespaceSelector'))
      read.fail(path, 'ipBlock cannot be combined with selectors');
    return parseIpBlock(read, object['ipBlock'], `${path}.ipBlock`);
  }
  if (!has('podSelector') && !has('namespaceSelector')) {
    read.fail(path, 'needs podSelector, namespaceSelector or ipBlock');
    return [];
  }
  const pods = parseSelector(read, object['podSelector'], `${path}.podSelector`, 'k8s');
  const namespaces: LabelSelector = has('namespaceSelector')
    ? namespaceRequirements(
        parseSelector(read, object['namespaceSelector'], `${path}.namespaceSelector`, 'k8s'),
      )
    : [requireValue('k8s', LABEL_NAMESPACE, context.namespace)];
  const cluster = requireValue('k8s', LABEL_CLUSTER, context.options.cluster);
  return [{ kind: 'labels', selector: [...pods, ...namespaces, cluster] }];
}

/** Negative requirements hold for peers without the label too, so a pod's namespace must be there in any case. */
export function namespaceRequirements(selector: LabelSelector): LabelSelector {
  const prefixed = selector.map((requirement) => ({
    ...requirement,
    key: LABEL_NAMESPACE_LABELS + requirement.key,
  }));
  return [...prefixed, requireKey('k8s', LABEL_NAMESPACE)];
}

function parseIpBlock(read: Reader, value: unknown, path: string): PeerSelector[] {
  const object = read.object(value, path, ['cidr', 'except']) ?? {};
  const text = read.text(object['cidr'], `${path}.cidr`) ?? '';
  const outer = text.includes('/') ? parsePrefix(text) : undefined;
  if (!outer) {
    read.fail(`${path}.cidr`, `${JSON.stringify(text)} is not a CIDR prefix`);
    return [];
  }
  const except = (read.list(object['except'], `${path}.except`) ?? []).flatMap((item, index) => {
    const at = `${path}.except[${index}]`;
    const inner = parsePrefix(read.text(item, at) ?? '');
    if (!inner || !prefixContains(outer, inner)) {
      read.fail(at, `${JSON.stringify(item)} is not a CIDR prefix inside ${text}`);
      return [];
    }
    return [formatPrefix(inner)];
  });
  return [{ kind: 'cidr', prefix: formatPrefix(outer), except }];
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

function parsePort(context: Context, value: unknown, where: string): PortMatch[] {
  const { read } = context;
  const path = `spec.${where}`;
  const object = read.object(value, path, ['protocol', 'port', 'endPort']);
  if (!object) return [];
  const protocol = PROTOCOLS[read.text(object['protocol'], `${path}.protocol`) ?? 'TCP'];
  if (protocol === undefined) {
    read.fail(`${path}.protocol`, `${JSON.stringify(object['protocol'])} is not one of TCP, UDP, SCTP`);
    return [];
  }
  const base = { protocols: [protocol], origin: context.origin(where) };
  const port = object['port'];
  if (port === undefined || port === null) return [{ ...base, from: 0, to: 65535 }];
  if (typeof port === 'string' && !/^\d+$/.test(port))
    return [{ ...base, from: 0, to: 0, name: port.toLowerCase() }];
  const from = read.integer(typeof port === 'string' ? Number(port) : port, `${path}.port`, 1, 65535);
  const to = read.integer(object['endPort'], `${path}.endPort`, 1, 65535) ?? from;
  if (from === undefined || to === undefined) return [];
  if (to < from) {
    read.fail(`${path}.endPort`, `${to} is smaller than port ${from}`);
    return [];
  }
  return [{ ...base, from, to }];
}
