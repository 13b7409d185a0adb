// SPDX-License-Identifier: Apache-2.0
import { LABEL_CLUSTER, LABEL_NAMESPACE, LABEL_NAMESPACE_LABELS } from '@cilium-ts/identity';
import { formatPrefix, parsePrefix, prefixContains } from '@cilium-ts/net';
import { checkDnsName } from './parse-l7.ts';
import type { ItemContext } from './parse-context.ts';
import type { Peers, PeerSelector } from './rule.ts';
import { parseSelector, requireKey, requireValue, type LabelSelector } from './selector.ts';

type PeerParser = (context: ItemContext, value: unknown, where: string) => PeerSelector[] | 'any';

const PARSERS: Readonly<Record<string, PeerParser>> = {
  Endpoints: parseEndpoint,
  Nodes: parseNodes,
  CIDR: parseCidr,
  CIDRSet: parseCidrRule,
  Entities: parseEntity,
  Groups: parseGroup,
  Services: parseService,
  FQDNs: parseFqdn,
};

/** Parses the peers of an item; undefined where none are named, an empty list where a list is there but empty. */
export function parsePeers(
  context: ItemContext,
  fields: Record<string, unknown>,
  deny: boolean,
): Peers | undefined {
  const side = context.direction === 'ingress' ? 'from' : 'to';
  const requires = context.read.list(fields[`${side}Requires`], context.at(`${side}Requires`));
  if (requires && requires.length > 0) {
    context.read.fail(
      context.at(`${side}Requires`),
      'is no longer supported: write the requirement into each selector',
    );
  }
  const used: string[] = [];
  const peers: PeerSelector[] = [];
  let any = false;
  for (const [suffix, parse] of Object.entries(PARSERS)) {
    const name = side + suffix;
    if (!(name in fields)) continue;
    const list = context.read.list(fields[name], context.at(name));
    if (list === undefined) continue;
    used.push(name);
    list.forEach((item, index) => {
      const parsed = parse(context, item, `${name}[${index}]`);
      if (parsed === 'any') any = true;
      else peers.push(...parsed);
    });
  }
  if (used.length > 1)
    context.read.fail(
      context.at(''),
      `combining ${used.join(' and ')} in one rule is not possible: write one rule for each`,
    );
  if (deny && used.includes('toServices')) context.unenforced('toServices', 'is resolved as for allow rules');
  if (used.length === 0) return undefined;
  return any ? 'any' : peers;
}

function parseEndpoint(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  const selector = parseSelector(context.read, value ?? {}, context.at(where), 'any');
  return [{ kind: 'labels', selector: withImplicitLabels(context, selector) }];
}

/** Adds what a peer selector means without saying: the policy's namespace (or any pod), and the local cluster. */
function withImplicitLabels(context: ItemContext, selector: LabelSelector): LabelSelector {
  if (selector.some((requirement) => requirement.source === 'reserved')) return selector;
  const added = [];
  const pods = (source: string): boolean => source === 'k8s' || source === 'any';
  const namesNamespace = selector.some(
    ({ source, key }) => pods(source) && (key === LABEL_NAMESPACE || key.startsWith(LABEL_NAMESPACE_LABELS)),
  );
  if (!namesNamespace && context.id.namespace !== undefined) {
    added.push(requireValue('k8s', LABEL_NAMESPACE, context.id.namespace));
  } else if (!namesNamespace && !context.initSubject) {
    added.push(requireKey('k8s', LABEL_NAMESPACE));
  }
  if (!selector.some(({ source, key }) => pods(source) && key === LABEL_CLUSTER)) {
    added.push(requireValue('k8s', LABEL_CLUSTER, context.options.cluster));
  }
  return [...selector, ...added];
}

function parseNodes(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  parseSelector(context.read, value ?? {}, context.at(where), 'any');
  context.unenforced(
    where,
    'nodes by label: not enforced yet, so this traffic is dropped unless another rule allows it',
  );
  return [{ kind: 'unknown-nodes' }];
}

function parseCidr(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  const text = context.read.text(value, context.at(where)) ?? '';
  const prefix = parsePrefix(text);
  if (!prefix) {
    context.read.fail(context.at(where), `${JSON.stringify(text)} is not an IP address or CIDR prefix`);
    return [];
  }
  return [{ kind: 'cidr', prefix: formatPrefix(prefix), except: [] }];
}

function parseCidrRule(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  const { read } = context;
  const path = context.at(where);
  const object = read.object(value, path, ['cidr', 'cidrGroupRef', 'cidrGroupSelector', 'except']);
  if (!object) return [];
  const given = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'].filter(
    (name) => object[name] !== undefined && object[name] !== null,
  );
  if (given.length !== 1) {
    read.fail(path, 'needs exactly one of cidr, cidrGroupRef, cidrGroupSelector');
    return [];
  }
  const outer =
    object['cidr'] === undefined ? undefined : prefixOnly(context, object['cidr'], `${path}.cidr`);
  const except = (read.list(object['except'], `${path}.except`) ?? []).flatMap((item, index) => {
    const at = `${path}.except[${index}]`;
    const inner = prefixOnly(context, item, at);
    if (!inner) return [];
    if (outer && !prefixContains(parsePrefix(outer)!, parsePrefix(inner)!)) {
      read.fail(at, `${inner} is not inside ${outer}`);
    }
    return [inner];
  });
  if (given[0] === 'cidr') return outer ? [{ kind: 'cidr', prefix: outer, except }] : [];
  if (given[0] === 'cidrGroupRef') {
    const name = read.text(object['cidrGroupRef'], `${path}.cidrGroupRef`) ?? '';
    if (name === '' || name.length > 253)
      read.fail(`${path}.cidrGroupRef`, 'must be the name of a CiliumCIDRGroup');
    return [{ kind: 'cidr-group', name, except }];
  }
  const selector = parseSelector(read, object['cidrGroupSelector'], `${path}.cidrGroupSelector`, 'k8s');
  return [{ kind: 'cidr-group', selector, except }];
}

function prefixOnly(context: ItemContext, value: unknown, path: string): string | undefined {
  const text = context.read.text(value, path) ?? '';
  const prefix = text.includes('/') ? parsePrefix(text) : undefined;
  if (!prefix) context.read.fail(path, `${JSON.stringify(text)} is not a CIDR prefix (address/length)`);
  return prefix && formatPrefix(prefix);
}

const ENTITIES: readonly string[] = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'init',
  'ingress',
  'unmanaged',
  'remote-node',
  'health',
  'none',
  'kube-apiserver',
];
const CLUSTER_ENTITIES = ['host', 'remote-node', 'init', 'ingress', 'health', 'unmanaged', 'kube-apiserver'];

function parseEntity(context: ItemContext, value: unknown, where: string): PeerSelector[] | 'any' {
  const text = context.read.text(value, context.at(where)) ?? '';
  if (!ENTITIES.includes(text)) {
    context.read.fail(
      context.at(where),
      `unknown entity ${JSON.stringify(text)}; known: ${ENTITIES.join(', ')}`,
    );
    return [];
  }
  if (text === 'all') return 'any';
  return entityPeers(text, context.options.cluster);
}

function reservedPeer(name: string): PeerSelector {
  return { kind: 'labels', selector: [requireKey('reserved', name)] };
}

function entityPeers(name: string, cluster: string): PeerSelector[] {
  if (name === 'none') return [];
  if (name === 'world') return ['world', 'world-ipv4', 'world-ipv6'].map(reservedPeer);
  if (name !== 'cluster') return [reservedPeer(name)];
  const pods: PeerSelector = { kind: 'labels', selector: [requireValue('k8s', LABEL_CLUSTER, cluster)] };
  return [...CLUSTER_ENTITIES.map(reservedPeer), pods];
}

function parseGroup(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  context.read.object(value, context.at(where), ['aws']);
  context.unenforced(
    where,
    'cloud groups: not enforced yet, so this traffic is dropped unless another rule allows it',
  );
  return [{ kind: 'unknown-world' }];
}

function parseService(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  const { read } = context;
  const path = context.at(where);
  const object = read.object(value, path, ['k8sService', 'k8sServiceSelector']);
  if (!object) return [];
  const named = read.object(object['k8sService'], `${path}.k8sService`, ['serviceName', 'namespace']);
  const selected = read.object(object['k8sServiceSelector'], `${path}.k8sServiceSelector`, [
    'selector',
    'namespace',
  ]);
  if (!named && !selected) read.fail(path, 'needs k8sService or k8sServiceSelector');
  const peers: PeerSelector[] = [];
  if (named) {
    const namespace = read.text(named['namespace'], `${path}.k8sService.namespace`);
    const name = read.text(named['serviceName'], `${path}.k8sService.serviceName`) ?? '';
    if (name === '') read.fail(`${path}.k8sService.serviceName`, 'is missing');
    peers.push({ kind: 'service', name, ...(namespace ? { namespace } : {}) });
  }
  if (selected) {
    const namespace = read.text(selected['namespace'], `${path}.k8sServiceSelector.namespace`);
    const selector = parseSelector(read, selected['selector'], `${path}.k8sServiceSelector.selector`, 'any');
    peers.push({ kind: 'service', selector, ...(namespace ? { namespace } : {}) });
  }
  return peers;
}

function parseFqdn(context: ItemContext, value: unknown, where: string): PeerSelector[] {
  const object = context.read.object(value, context.at(where), ['matchName', 'matchPattern']);
  if (object) checkDnsName(context, object, context.at(where));
  context.unenforced(
    where,
    'DNS names: not enforced yet, so this traffic is dropped unless another rule allows it',
  );
  return [{ kind: 'unknown-world' }];
}
