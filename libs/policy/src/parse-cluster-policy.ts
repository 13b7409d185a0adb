// SPDX-License-Identifier: Apache-2.0
// ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2): ordered rules of the Admin and Baseline tiers.
import { LABEL_CLUSTER } from '@cilium-ts/identity';
import { err, ok } from '@cilium-ts/base';
import { formatPrefix, parsePrefix } from '@cilium-ts/net';
import { namespaceRequirements } from './parse-kubernetes.ts';
import { readAudit, type ParseResult, type PolicyObject } from './parse-object.ts';
import { Reader, type Problem } from './problem.ts';
import type { ParseOptions, PeerSelector, PolicyName, PortMatch, RuleAction, RuleItem } from './rule.ts';
import type { Direction, Origin, Tier } from './rule-set.ts';
import { parseSelector, requireValue, type LabelSelector } from './selector.ts';
import { yamlLines } from './yaml-lines.ts';

const MAX_RULES = 25;
const MAX_PEERS = 25;
const MAX_NAME = 100;
const MAX_PRIORITY = 1000;
const TIERS: Readonly<Record<string, Tier>> = { Admin: 'admin', Baseline: 'baseline' };
const ACTIONS: Readonly<Record<string, RuleAction>> = { Accept: 'allow', Deny: 'deny', Pass: 'pass' };
const TRANSPORTS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

interface Context {
  readonly read: Reader;
  readonly options: ParseOptions;
  readonly notes: Problem[];
  readonly origin: (path: string) => Origin;
}

/** Parses a ClusterNetworkPolicy. All or nothing: one bad rule refuses the object. */
export function parseClusterPolicy(object: PolicyObject, options: ParseOptions): ParseResult {
  const read = new Reader();
  const id: PolicyName = { kind: 'ClusterNetworkPolicy', name: object.metadata?.name ?? '' };
  if (id.name === '') read.fail('metadata.name', 'is missing');
  const fields = ['tier', 'priority', 'subject', 'ingress', 'egress'];
  const spec = read.object(object.spec ?? {}, 'spec', fields) ?? {};
  const lines = yamlLines(spec);
  const notes: Problem[] = [];
  const origin = (path: string): Origin => ({ ...id, path, line: lines.get(path) ?? 0 });
  const context: Context = { read, options, notes, origin };
  const tier = choice(read, spec['tier'], 'spec.tier', TIERS) ?? 'admin';
  const priority = read.integer(spec['priority'], 'spec.priority', 0, MAX_PRIORITY);
  if (spec['priority'] === undefined) read.fail('spec.priority', 'is missing');
  const subject = parsePods(context, spec['subject'], 'spec.subject', []) ?? [];
  const place = { tier, first: (priority ?? 0) * MAX_PRIORITY };
  const items = (['ingress', 'egress'] as const).flatMap((direction) => {
    const rules = read.list(spec[direction], `spec.${direction}`) ?? [];
    if (rules.length > MAX_RULES) read.fail(`spec.${direction}`, `at most ${MAX_RULES} rules`);
    return rules.flatMap((rule, index) => parseRule(context, direction, rule, index, place));
  });
  const audited = readAudit(read, object);
  return read.problems.length > 0
    ? err(read.problems)
    : ok({ id, rules: [{ on: 'endpoints', subject, items }], audited, unenforced: notes });
}

function choice<T>(
  read: Reader,
  value: unknown,
  path: string,
  known: Readonly<Record<string, T>>,
): T | undefined {
  const text = read.text(value, path);
  const found = text === undefined ? undefined : known[text];
  if (found === undefined)
    read.fail(path, `${JSON.stringify(value ?? null)} is not one of ${Object.keys(known).join(', ')}`);
  return found;
}

/** Exactly one of `namespaces` and `pods`; `more` are other fields that may stand there instead. */
function parsePods(
  { read }: Context,
  value: unknown,
  path: string,
  more: readonly string[],
): LabelSelector | undefined {
  const object = read.object(value, path, ['namespaces', 'pods', ...more]) ?? {};
  const kinds = ['namespaces', 'pods', ...more].filter((key) => (object[key] ?? undefined) !== undefined);
  if (kinds.length > 1) read.fail(path, `exactly one of ${kinds.join(', ')}`);
  if (kinds[0] === 'namespaces')
    return namespaceRequirements(parseSelector(read, object['namespaces'], `${path}.namespaces`, 'k8s'));
  if (kinds[0] !== 'pods') {
    if (more.length === 0) read.fail(path, 'needs namespaces or pods');
    return undefined;
  }
  const pods = read.object(object['pods'], `${path}.pods`, ['namespaceSelector', 'podSelector']) ?? {};
  const namespaces = parseSelector(read, pods['namespaceSelector'], `${path}.pods.namespaceSelector`, 'k8s');
  return [
    ...namespaceRequirements(namespaces),
    ...parseSelector(read, pods['podSelector'], `${path}.pods.podSelector`, 'k8s'),
  ];
}

function parseRule(
  context: Context,
  direction: Direction,
  value: unknown,
  index: number,
  { tier, first }: { readonly tier: Tier; readonly first: number },
): RuleItem[] {
  const { read } = context;
  const where = `${direction}[${index}]`;
  const side = direction === 'ingress' ? 'from' : 'to';
  const rule = read.object(value ?? {}, `spec.${where}`, ['name', 'action', side, 'protocols']);
  if (!rule) return [];
  if ((read.text(rule['name'], `spec.${where}.name`) ?? '').length > MAX_NAME)
    read.fail(`spec.${where}.name`, `longer than ${MAX_NAME}`);
  const action = choice(read, rule['action'], `spec.${where}.action`, ACTIONS) ?? 'deny';
  const written = read.list(rule[side], `spec.${where}.${side}`) ?? [];
  if (written.length < 1 || written.length > MAX_PEERS)
    read.fail(`spec.${where}.${side}`, `1 to ${MAX_PEERS} peers, not ${written.length}`);
  const peers = written.map((peer, at) => parsePeer(context, direction, peer, `${where}.${side}[${at}]`));
  // Pods have no addresses in policy. An Accept that misses them is closed; what is to keep them out must be said to miss.
  if (action !== 'allow') noteNetworks(context, written, `${where}.${side}`);
  // A peer of a kind that is not known here: nobody is accepted for it, and what it was to keep out stays out.
  const unknown = peers.includes('unknown');
  const base = {
    direction,
    tier,
    priority: first + index,
    defaultDeny: false,
    origin: context.origin(where),
  };
  const ports = parseProtocols(context, rule['protocols'], where);
  if (unknown && action !== 'allow') return [{ ...base, action: 'deny', peers: 'any', ports }];
  return [{ ...base, action, peers: peers.flatMap((peer) => (peer === 'unknown' ? [] : peer)), ports }];
}

function noteNetworks({ notes }: Context, peers: readonly unknown[], where: string): void {
  peers.forEach((peer, at) => {
    if ((peer as { networks?: unknown } | null)?.networks)
      notes.push({
        path: `spec.${where}[${at}].networks`,
        message: 'pods are not matched by their addresses yet',
      });
  });
}

function parsePeer(
  context: Context,
  direction: Direction,
  value: unknown,
  where: string,
): PeerSelector[] | 'unknown' {
  const { read, notes } = context;
  const path = `spec.${where}`;
  const more = direction === 'egress' ? ['networks', 'nodes', 'domainNames'] : [];
  const object = read.object(value, path, ['namespaces', 'pods', ...more]) ?? {};
  const networks = read.list(object['networks'], `${path}.networks`);
  if (networks)
    return networks.flatMap((network, at) => parseNetwork(read, network, `${path}.networks[${at}]`));
  for (const key of ['nodes', 'domainNames']) {
    if (object[key] === undefined || object[key] === null) continue;
    notes.push({ path: `${path}.${key}`, message: 'not enforced yet: nothing is accepted for it' });
    return 'unknown';
  }
  if (Object.keys(object).length === 0) return 'unknown';
  const selector = parsePods(context, object, path, more);
  const cluster = requireValue('k8s', LABEL_CLUSTER, context.options.cluster);
  return selector ? [{ kind: 'labels', selector: [...selector, cluster] }] : [];
}

function parseNetwork(read: Reader, value: unknown, path: string): PeerSelector[] {
  const text = read.text(value, path) ?? '';
  const prefix = text.includes('/') ? parsePrefix(text) : undefined;
  if (prefix) return [{ kind: 'cidr', prefix: formatPrefix(prefix), except: [] }];
  read.fail(path, `${JSON.stringify(text)} is not a CIDR prefix`);
  return [];
}

function parseProtocols(context: Context, value: unknown, where: string): 'any' | PortMatch[] {
  const { read } = context;
  const list = read.list(value, `spec.${where}.protocols`) ?? [];
  if (list.length === 0) return 'any';
  return list.flatMap((item, index) => parseProtocol(context, item, `${where}.protocols[${index}]`));
}

function parseProtocol(context: Context, value: unknown, where: string): PortMatch[] {
  const { read } = context;
  const path = `spec.${where}`;
  const origin = context.origin(where);
  const known = [...Object.keys(TRANSPORTS), 'destinationNamedPort'];
  const object = read.object(value, path, known) ?? {};
  const [key, ...others] = known.filter((each) => object[each] !== undefined && object[each] !== null);
  if (key === undefined || others.length > 0) {
    read.fail(path, `exactly one of ${known.join(', ')}`);
    return [];
  }
  if (key === 'destinationNamedPort') {
    const name = read.text(object[key], `${path}.${key}`) ?? '';
    return [{ protocols: Object.values(TRANSPORTS), from: 0, to: 0, name: name.toLowerCase(), origin }];
  }
  const transport = read.object(object[key], `${path}.${key}`, ['destinationPort']) ?? {};
  const range = parsePorts(read, transport['destinationPort'], `${path}.${key}.destinationPort`);
  return range ? [{ protocols: [TRANSPORTS[key]!], ...range, origin }] : [];
}

function parsePorts(read: Reader, value: unknown, path: string): { from: number; to: number } | undefined {
  const object = read.object(value, path, ['number', 'range']);
  if (!object) return { from: 0, to: 65535 };
  const number = read.integer(object['number'], `${path}.number`, 1, 65535);
  const range = read.object(object['range'], `${path}.range`, ['start', 'end']);
  if ((number === undefined) === (range === undefined)) {
    read.fail(path, 'exactly one of number, range');
    return undefined;
  }
  if (number !== undefined) return { from: number, to: number };
  const from = read.integer(range!['start'], `${path}.range.start`, 1, 65535);
  const to = read.integer(range!['end'], `${path}.range.end`, 1, 65535);
  if (from !== undefined && to !== undefined && from < to) return { from, to };
  read.fail(`${path}.range`, 'start must be smaller than end');
  return undefined;
}
