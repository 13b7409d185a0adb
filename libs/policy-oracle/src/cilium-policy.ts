// SPDX-License-Identifier: Apache-2.0
import { RANK, selectIdentities, union, type Entry, type PortRange } from './entry.ts';
import { CLUSTER, matches, NAMESPACE, NAMESPACE_LABELS, requirements, requires } from './labels.ts';
import type { LabelSelector, Requirement } from './labels.ts';
import { cidrPeers, entityPeers, nodeIdentities, servicePeers, worldIdentities } from './peers.ts';
import type { CidrRule, ServiceReference } from './peers.ts';
import { icmpType, named, numbered, TRANSPORTS, type IcmpField, type Transport } from './services.ts';
import type { Direction, Origin, PolicyObject, World } from './world.ts';

interface PortRule {
  readonly ports?: readonly { port?: string; endPort?: number; protocol?: string }[];
  readonly rules?: Readonly<Record<string, unknown>>;
  readonly listener?: { readonly priority?: number };
  readonly serverNames?: readonly string[];
  readonly terminatingTLS?: unknown;
  readonly originatingTLS?: unknown;
}

type Direct = 'Endpoints' | 'Nodes' | 'Groups' | 'CIDR' | 'CIDRSet' | 'Entities';

type DirectionRule = {
  readonly [key in `${'from' | 'to'}${Direct}`]?: readonly unknown[];
} & {
  readonly toServices?: readonly ServiceReference[];
  readonly toFQDNs?: readonly unknown[];
  readonly toPorts?: readonly PortRule[];
  readonly icmps?: readonly { readonly fields?: readonly IcmpField[] }[];
  readonly authentication?: { readonly mode?: string };
};

interface Rule {
  readonly endpointSelector?: LabelSelector;
  readonly nodeSelector?: LabelSelector;
  readonly ingress?: readonly DirectionRule[];
  readonly ingressDeny?: readonly DirectionRule[];
  readonly egress?: readonly DirectionRule[];
  readonly egressDeny?: readonly DirectionRule[];
  readonly enableDefaultDeny?: Readonly<Partial<Record<Direction, boolean>>>;
}

/** What a rule item selects, and the rank it has if the peers can be told (plain) or not (unknown). */
interface Peers {
  readonly peers: Entry['peers'];
  readonly known: boolean;
}

interface Context {
  readonly world: World;
  readonly object: PolicyObject;
  readonly rule: Rule;
  readonly direction: Direction;
  readonly origin: Omit<Origin, 'path'>;
  readonly audited: boolean;
}

function subjectSelected(world: World, rule: Rule, namespace: string | undefined): boolean {
  const { subject } = world;
  if (rule.nodeSelector) return subject.host && matches(requirements(rule.nodeSelector), subject.labels);
  if (subject.host) return false;
  const wanted = requirements(rule.endpointSelector ?? {});
  if (namespace === undefined) return matches(wanted, subject.labels);
  // The namespace of the policy replaces whatever namespace the selector names.
  const others = wanted.filter(({ key }) => key !== NAMESPACE);
  return matches([...others, requires('k8s', NAMESPACE, namespace)], subject.labels);
}

function names(wanted: readonly Requirement[], key: (key: string) => boolean): boolean {
  return wanted.some((each) => (each.source === 'k8s' || each.source === 'any') && key(each.key));
}

/** The selector of a peer with what the API adds to it silently. */
function peerRequirements({ world, object, rule }: Context, selector: LabelSelector): Requirement[] {
  const wanted = requirements(selector);
  if (wanted.some(({ source }) => source === 'reserved')) return wanted;
  const namespaceNamed = names(wanted, (key) => key === NAMESPACE || key.startsWith(NAMESPACE_LABELS));
  const added: Requirement[] = [];
  if (!namespaceNamed) {
    const { namespace } = object.metadata;
    const subject = requirements(rule.endpointSelector ?? {});
    const forInit = subject.some(({ source, key }) => source === 'reserved' && key === 'init');
    if (namespace !== undefined) added.push(requires('k8s', NAMESPACE, namespace));
    else if (!forInit) added.push(requires('k8s', NAMESPACE));
  }
  if (!names(wanted, (key) => key === CLUSTER)) added.push(requires('k8s', CLUSTER, world.cluster));
  return [...wanted, ...added];
}

function peersOf(context: Context, item: DirectionRule): Peers | undefined {
  const { world, direction } = context;
  const list = (kind: Direct): readonly unknown[] | undefined =>
    item[`${direction === 'ingress' ? 'from' : 'to'}${kind}`];
  const known = (peers: Entry['peers']): Peers => ({ peers, known: true });
  const unknown = (peers: Entry['peers'], given: readonly unknown[]): Peers =>
    given.length === 0 ? known(new Set()) : { peers, known: false };

  const endpoints = list('Endpoints') as readonly LabelSelector[] | undefined;
  if (endpoints) {
    return known(union(endpoints.map((each) => selectIdentities(world, peerRequirements(context, each)))));
  }
  const cidrs = list('CIDR') as readonly string[] | undefined;
  if (cidrs) return known(cidrPeers(world, cidrs.map((cidr) => ({ cidr })))); // prettier-ignore
  const cidrSets = list('CIDRSet') as readonly CidrRule[] | undefined;
  if (cidrSets) return known(cidrPeers(world, cidrSets));
  const entities = list('Entities') as readonly string[] | undefined;
  if (entities) return known(entityPeers(world, entities));
  if (item.toServices) return known(servicePeers(world, item.toServices));
  const nodes = list('Nodes');
  if (nodes) return unknown(nodeIdentities(world), nodes);
  const elsewhere = item.toFQDNs ?? list('Groups');
  if (elsewhere) return unknown(worldIdentities(world), elsewhere);
  return undefined;
}

function portsOf({ world, direction }: Context, { ports = [] }: PortRule): PortRange[] {
  return ports.flatMap(({ port = '0', endPort, protocol = 'ANY' }) => {
    const wanted = protocol.toUpperCase();
    const protocols = wanted === 'ANY' ? TRANSPORTS : [wanted as Transport];
    return protocols.flatMap((each) =>
      /^\d+$/.test(port)
        ? [numbered(each, Number(port), endPort)]
        : named(world, direction, each, port.toLowerCase()),
    );
  });
}

/** An empty list of rules is none. */
function written(rules: unknown): boolean {
  return Array.isArray(rules) && rules.length > 0;
}

/** The rank of the strictest condition that a port rule sets, plain where it sets none. */
function rankOf(port: PortRule, item: DirectionRule): number {
  const { rules = {}, listener } = port;
  if (listener) return RANK.redirect(listener.priority || 126);
  if (written(rules['http'])) return RANK.redirect(101);
  if (written(rules['kafka'])) return RANK.redirect(106);
  if (rules['l7proto'] ?? rules['l7']) return RANK.redirect(111);
  if (port.serverNames?.length || port.terminatingTLS || port.originatingTLS) return RANK.redirect(116);
  if (written(rules['dns'])) return RANK.redirect(121);
  return item.authentication?.mode && item.authentication.mode !== 'disabled' ? RANK.condition : RANK.plain;
}

interface Part {
  readonly services: Entry['services'];
  readonly rank: number;
  readonly path: string;
}

function partsOf(context: Context, item: DirectionRule): Part[] {
  const ports = (item.toPorts ?? []).map((port, index) => ({
    services: portsOf(context, port),
    rank: rankOf(port, item),
    path: `.toPorts[${index}]`,
  }));
  const icmps = (item.icmps ?? []).map(({ fields = [] }, index) => ({
    services: fields.flatMap(icmpType),
    rank: rankOf({}, item),
    path: `.icmps[${index}]`,
  }));
  const parts = [...ports, ...icmps];
  return parts.length ? parts : [{ services: 'any', rank: rankOf({}, item), path: '' }];
}

function itemEntries(
  context: Context,
  item: DirectionRule,
  verdict: 'allow' | 'deny',
  path: string,
): Entry[] {
  const { direction, rule, audited } = context;
  const chosen = peersOf(context, item);
  const nothingWritten = !chosen && !item.toPorts?.length && !item.icmps?.length;
  const { peers, known } = chosen ?? {
    peers: nothingWritten ? new Set<number>() : ('any' as const),
    known: true,
  };
  return partsOf(context, item).map((part) => ({
    tier: 'Normal',
    priority: 0,
    direction,
    verdict,
    peers,
    services: part.services,
    defaultDeny: rule.enableDefaultDeny?.[direction] ?? true,
    rank: verdict === 'deny' ? RANK.deny : known ? part.rank : RANK.unknown,
    audited,
    origin: { ...context.origin, path: path + part.path },
  }));
}

/** The entries of a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy for the subject of the world. */
export function ciliumEntries(world: World, object: PolicyObject, audited: boolean): Entry[] {
  const { namespace, name } = object.metadata;
  const rules: [string, Rule][] = (object.specs ?? []).map((rule, i) => [`specs[${i}].`, rule as Rule]);
  if (object.spec) rules.unshift(['', object.spec as Rule]);
  return rules
    .filter(([, rule]) => subjectSelected(world, rule, namespace))
    .flatMap(([prefix, rule]) =>
      (['ingress', 'egress'] as const).flatMap((direction) => {
        const origin = { kind: object.kind, namespace: namespace ?? '', name };
        const context: Context = { world, object, rule, direction, origin, audited };
        return (['allow', 'deny'] as const).flatMap((verdict) => {
          const key = verdict === 'allow' ? direction : (`${direction}Deny` as const);
          return (rule[key] ?? []).flatMap((item, index) =>
            itemEntries(context, item, verdict, `${prefix}${key}[${index}]`),
          );
        });
      }),
    );
}
