// SPDX-License-Identifier: Apache-2.0
import { LABEL_CLUSTER, LABEL_NAMESPACE, type Label } from '@cilium-ts/identity';
import { formatPrefix, parsePrefix } from '@cilium-ts/net';
import { indexLabels, matcherOf } from './matcher.ts';
import type { PeerSelector } from './rule.ts';
import { requireValue, type LabelSelector } from './selector.ts';

export interface ServiceInput {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Absent or empty: the Service has no selector, its backends are the addresses given. */
  readonly selector?: Readonly<Record<string, string>>;
  /** Backend addresses, read only without a selector. */
  readonly backends: readonly string[];
}

export interface CidrGroupInput {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cidrs: readonly string[];
}

function selects(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const own = Object.entries(labels).map(([key, value]): Label => ({ source: 'k8s', key, value }));
  return matcherOf(selector)(indexLabels(own));
}

/** Replaces Services and CIDR groups by the peers they stand for; what does not exist stands for nobody. */
export class Expansion {
  readonly #cluster: string;
  readonly #services = new Map<string, ServiceInput>();
  readonly #groups = new Map<string, CidrGroupInput>();

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  /** Each returns whether anything changed. */
  upsertService(service: ServiceInput): boolean {
    return replace(this.#services, `${service.namespace}/${service.name}`, service);
  }

  deleteService(namespace: string, name: string): boolean {
    return this.#services.delete(`${namespace}/${name}`);
  }

  upsertGroup(group: CidrGroupInput): boolean {
    return replace(this.#groups, group.name, group);
  }

  deleteGroup(name: string): boolean {
    return this.#groups.delete(name);
  }

  expand(peer: PeerSelector): readonly PeerSelector[] {
    if (peer.kind === 'service') return this.#service(peer);
    if (peer.kind === 'cidr-group') return this.#group(peer);
    return [peer];
  }

  #service(peer: PeerSelector & { kind: 'service' }): PeerSelector[] {
    const found = [...this.#services.values()].filter((service) => {
      if (peer.namespace !== undefined && service.namespace !== peer.namespace) return false;
      if (peer.name !== undefined && service.name !== peer.name) return false;
      return peer.selector === undefined || selects(peer.selector, service.labels);
    });
    return found.flatMap((service): PeerSelector[] => {
      const selector = Object.entries(service.selector ?? {});
      if (selector.length === 0) return service.backends.flatMap(hostPeer);
      const requirements = selector.map(([key, value]) => requireValue('k8s', key, value));
      requirements.push(requireValue('k8s', LABEL_NAMESPACE, service.namespace));
      requirements.push(requireValue('k8s', LABEL_CLUSTER, this.#cluster));
      return [{ kind: 'labels', selector: requirements }];
    });
  }

  #group(peer: PeerSelector & { kind: 'cidr-group' }): PeerSelector[] {
    const found = [...this.#groups.values()].filter((group) =>
      peer.name === undefined ? selects(peer.selector ?? [], group.labels) : group.name === peer.name,
    );
    return found.flatMap((group) =>
      group.cidrs.flatMap((text): PeerSelector[] => {
        const prefix = parsePrefix(text);
        return prefix ? [{ kind: 'cidr', prefix: formatPrefix(prefix), except: peer.except }] : [];
      }),
    );
  }
}

function hostPeer(address: string): PeerSelector[] {
  const prefix = parsePrefix(address);
  return prefix ? [{ kind: 'cidr', prefix: formatPrefix(prefix), except: [] }] : [];
}

function replace<T>(map: Map<string, T>, key: string, value: T): boolean {
  const old = map.get(key);
  if (old !== undefined && JSON.stringify(old) === JSON.stringify(value)) return false;
  map.set(key, value);
  return true;
}
