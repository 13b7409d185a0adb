// SPDX-License-Identifier: Apache-2.0
import { parsePrefix, prefixContains, type Prefix } from '@cilium-ts/net';
import { selectIdentities, union } from './entry.ts';
import {
  cidrOfKey,
  CLUSTER,
  matches,
  parseLabel,
  requirements,
  requires,
  type LabelSelector,
} from './labels.ts';
import { NAMESPACE } from './labels.ts';
import type { Service, World } from './world.ts';

/** One element of fromCIDRSet, toCIDRSet or of an ipBlock. */
export interface CidrRule {
  readonly cidr?: string;
  readonly cidrGroupRef?: string;
  readonly cidrGroupSelector?: LabelSelector;
  readonly except?: readonly string[];
}

/** One element of toServices. */
export interface ServiceReference {
  readonly k8sService?: { readonly serviceName?: string; readonly namespace?: string };
  readonly k8sServiceSelector?: { readonly selector: LabelSelector; readonly namespace?: string };
}

const WORLD = ['world', 'world-ipv4', 'world-ipv6'];

/** The reserved labels an entity stands for; the cluster entity adds the local cluster's pods. */
const ENTITY: Readonly<Record<string, readonly string[]>> = {
  host: ['host'],
  'remote-node': ['remote-node'],
  'kube-apiserver': ['kube-apiserver'],
  ingress: ['ingress'],
  health: ['health'],
  init: ['init'],
  unmanaged: ['unmanaged'],
  world: WORLD,
  'world-ipv4': ['world-ipv4'],
  'world-ipv6': ['world-ipv6'],
  cluster: ['host', 'remote-node', 'init', 'ingress', 'health', 'unmanaged', 'kube-apiserver'],
  none: [],
};

function reserved(world: World, names: readonly string[]): Set<number> {
  return union(names.map((name) => selectIdentities(world, [requires('reserved', name)])));
}

export function worldIdentities(world: World): Set<number> {
  return reserved(world, WORLD);
}

export function nodeIdentities(world: World): Set<number> {
  return reserved(world, ['remote-node']);
}

export function entityPeers(world: World, entities: readonly string[]): 'any' | Set<number> {
  if (entities.includes('all')) return 'any';
  return union(
    entities.map((entity) => {
      const named = reserved(world, ENTITY[entity] ?? []);
      if (entity !== 'cluster') return named;
      return union([named, selectIdentities(world, [requires('k8s', CLUSTER, world.cluster)])]);
    }),
  );
}

/** True where the identity stands for addresses inside the prefix. `/0` is the world of its family. */
function inside(labels: readonly string[], prefix: Prefix): boolean {
  const parsed = labels.map(parseLabel);
  const family = prefix.family === 4 ? 'world-ipv4' : 'world-ipv6';
  if (prefix.bits === 0 && parsed.some(({ source, key }) => source === 'reserved' && key === family))
    return true;
  return parsed.some(({ source, key }) => {
    const held = source === 'cidr' ? cidrOfKey(key) : undefined;
    return held !== undefined && prefixContains(prefix, held);
  });
}

function prefixesOf(world: World, rule: CidrRule): Prefix[] {
  const texts = rule.cidr !== undefined ? [rule.cidr] : groupsOf(world, rule).flatMap(({ cidrs }) => cidrs);
  return texts.map(parsePrefix).filter((prefix) => prefix !== undefined);
}

function groupsOf(world: World, rule: CidrRule): World['cidrGroups'] {
  if (rule.cidrGroupRef !== undefined)
    return world.cidrGroups.filter(({ name }) => name === rule.cidrGroupRef);
  const wanted = requirements(rule.cidrGroupSelector ?? {});
  return world.cidrGroups.filter(({ labels }) => matches(wanted, asLabels(labels)));
}

function asLabels(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => `k8s:${key}=${value}`);
}

/** Identities inside one of the rules' prefixes and outside that rule's exceptions. */
export function cidrPeers(world: World, rules: readonly CidrRule[]): Set<number> {
  const selected = new Set<number>();
  for (const rule of rules) {
    const prefixes = prefixesOf(world, rule);
    const except = (rule.except ?? []).map(parsePrefix).filter((prefix) => prefix !== undefined);
    for (const [identity, labels] of world.identities) {
      if (!prefixes.some((prefix) => inside(labels, prefix))) continue;
      if (except.some((prefix) => inside(labels, prefix))) continue;
      selected.add(identity);
    }
  }
  return selected;
}

function refersTo(reference: ServiceReference, service: Service): boolean {
  const named = reference.k8sService;
  if (named && (named.namespace || service.namespace) === service.namespace) {
    if (named.serviceName === service.name) return true;
  }
  const chosen = reference.k8sServiceSelector;
  if (!chosen || (chosen.namespace || service.namespace) !== service.namespace) return false;
  return matches(requirements(chosen.selector), asLabels(service.labels));
}

/** Pods behind services with a selector, addresses behind the others; no service, no peer. */
export function servicePeers(world: World, references: readonly ServiceReference[]): Set<number> {
  const services = world.services.filter((service) => references.some((each) => refersTo(each, service)));
  return union(
    services.map((service) => {
      const selector = service.selector ?? {};
      if (Object.keys(selector).length === 0) {
        return cidrPeers(
          world,
          service.backends.map((cidr) => ({ cidr })),
        );
      }
      const pods = requirements({ matchLabels: selector }, 'k8s');
      return selectIdentities(world, [...pods, requires('k8s', NAMESPACE, service.namespace)]);
    }),
  );
}
