// SPDX-License-Identifier: Apache-2.0
// Services and EndpointSlices to the load-balancing maps, by way of the pure layout.
import type {
  BackendSlot,
  ReverseNatKey,
  ReverseNatValue,
  ServiceKey,
  ServiceValue,
  SlotKey,
} from '@cilium-ts/abi';
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { BpfMap } from '@cilium-ts/bpf';
import type { EndpointSlice, Reflector, Service } from '@cilium-ts/kube';
import {
  frontendKey,
  frontendsOf,
  ServiceLayout,
  type Frontend,
  type PlacedFrontend,
  type ServiceInput,
  type SliceInput,
} from '@cilium-ts/loadbalancer';
import { normalizeAddress, protocolName, protocolNumber } from '@cilium-ts/net';
import { Trigger, type Table } from '@cilium-ts/tables';
import type { ServiceRow } from '../rows.ts';

export interface LoadBalancerMaps {
  readonly services: BpfMap<ServiceKey, ServiceValue>;
  readonly slots: BpfMap<SlotKey, BackendSlot>;
  readonly reverseNat: BpfMap<ReverseNatKey, ReverseNatValue>;
}

/** Changes of this many milliseconds are written together. */
const WINDOW_MS = 5;
const RETRY_MS = 1000;

function serviceInput(service: Service): ServiceInput {
  const { spec, metadata } = service;
  const ips = spec?.clusterIPs?.length ? spec.clusterIPs : [spec?.clusterIP ?? ''];
  const affinity = spec?.sessionAffinity === 'ClientIP';
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    type: spec?.type ?? 'ClusterIP',
    clusterIps:
      spec?.type === 'ExternalName' ? [] : ips.map((ip) => (ip.includes(':') ? normalizeAddress(ip) : ip)),
    affinityTimeoutSeconds: affinity ? (spec?.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800) : 0,
    localOnly: spec?.internalTrafficPolicy === 'Local',
    ports: (spec?.ports ?? []).map(({ name = '', port, protocol = 'TCP' }) => ({
      name,
      port,
      protocol: protocolNumber(protocol) ?? 0,
    })),
  };
}

function sliceInput(slice: EndpointSlice): SliceInput {
  return {
    addressFamily: slice.addressType === 'IPv6' ? 6 : 4,
    ports: (slice.ports ?? []).flatMap(({ name, port, protocol }) =>
      port === undefined || port === null
        ? []
        : [{ name: name ?? '', port, protocol: protocolNumber(protocol ?? 'TCP') ?? 0 }],
    ),
    endpoints: (slice.endpoints ?? []).map(({ addresses, conditions, nodeName }) => ({
      addresses: addresses.map(normalizeAddress),
      ready: conditions?.ready !== false,
      serving: conditions?.serving ?? conditions?.ready !== false,
      terminating: conditions?.terminating === true,
      node: nodeName ?? '',
    })),
  };
}

const sameFrontend = (a: Frontend, b: Frontend): boolean => JSON.stringify(a) === JSON.stringify(b);

export class LoadBalancer {
  readonly #services: Reflector<Service>;
  readonly #slices: Reflector<EndpointSlice>;
  readonly #maps: LoadBalancerMaps;
  readonly #table: Table<ServiceRow>;
  readonly #node: string;
  readonly #logger: Logger;
  readonly #layout: ServiceLayout;
  readonly #dirty = new Set<string>();
  /** Frontend keys by service. */
  readonly #owned = new Map<string, Set<string>>();
  readonly #trigger: Trigger;
  #pruneWanted = false;
  #error: string | undefined;

  constructor(options: {
    readonly services: Reflector<Service>;
    readonly slices: Reflector<EndpointSlice>;
    readonly maps: LoadBalancerMaps;
    readonly table: Table<ServiceRow>;
    readonly node: string;
    readonly logger: Logger;
  }) {
    this.#services = options.services;
    this.#slices = options.slices;
    this.#maps = options.maps;
    this.#table = options.table;
    this.#node = options.node;
    this.#logger = options.logger;
    this.#layout = new ServiceLayout(options.maps.slots.info.maxEntries);
    this.#trigger = new Trigger({ name: 'loadbalancer', delayMs: WINDOW_MS, logger: options.logger }, () =>
      this.#round(),
    );
  }

  get error(): string | undefined {
    return this.#error;
  }

  async start(): Promise<void> {
    this.#layout.restore(await this.#maps.services.entries(), performance.now());
    const mark = (key: string): void => {
      this.#dirty.add(key);
      this.#trigger.fire();
    };
    const ofService = (service: Service): void =>
      mark(`${service.metadata.namespace}/${service.metadata.name}`);
    const ofSlice = ({ metadata }: EndpointSlice): void =>
      mark(`${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`);
    this.#services.subscribe({
      onAdd: ofService,
      onUpdate: (_, service) => ofService(service),
      onDelete: ofService,
    });
    this.#slices.subscribe({ onAdd: ofSlice, onUpdate: (_, slice) => ofSlice(slice), onDelete: ofSlice });
    void Promise.all([this.#services.synced, this.#slices.synced]).then(() => {
      this.#pruneWanted = true;
      this.#trigger.fire();
    });
  }

  #frontends(key: string): Frontend[] {
    const service = this.#services.store.get(key);
    if (!service) return [];
    const slices = this.#slices.store.byIndex('service', key).map(sliceInput);
    return frontendsOf(serviceInput(service), slices, this.#node);
  }

  async #round(): Promise<void> {
    // Until both kinds are known completely, services would lose backends that live.
    if (!this.#services.hasSynced || !this.#slices.hasSynced) return;
    const keys = [...this.#dirty];
    this.#dirty.clear();
    const upserts: Frontend[] = [];
    const removals: string[] = [];
    const owned = new Map<string, Set<string>>();
    for (const key of keys) {
      const frontends = this.#frontends(key);
      const names = new Set(frontends.map(frontendKey));
      for (const name of this.#owned.get(key) ?? []) if (!names.has(name)) removals.push(name);
      for (const frontend of frontends) {
        const placed = this.#layout.get(frontendKey(frontend));
        if (!placed || !sameFrontend(placed.frontend, frontend)) upserts.push(frontend);
      }
      owned.set(key, names);
    }
    try {
      await this.#write(upserts, removals);
      for (const [key, names] of owned) this.#owned.set(key, names);
      if (this.#pruneWanted) await this.#prune();
      this.#error = undefined;
    } catch (error) {
      this.#error = errorMessage(error);
      this.#logger.error({ error: this.#error }, 'services could not be written, trying again');
      for (const key of keys) this.#dirty.add(key);
      setTimeout(() => this.#trigger.fire(), RETRY_MS).unref();
    }
  }

  async #write(upserts: readonly Frontend[], removals: readonly string[]): Promise<void> {
    const { slots, services, reverseNat } = this.#maps;
    const change = this.#layout.update(upserts, removals, performance.now());
    await slots.setMany(change.slots.map(([index, slot]) => [{ index }, slot]));
    await reverseNat.setMany(change.reverseNat.map(([id, value]) => [{ id }, value]));
    await services.setMany(change.services);
    await services.deleteMany(change.removedServices);
    await reverseNat.deleteMany(change.removedReverseNat.map((id) => ({ id })));
    this.#table.transaction(() => {
      for (const frontend of upserts) {
        const key = frontendKey(frontend);
        this.#table.upsert(key, serviceRow(this.#layout.get(key)!));
      }
      for (const key of removals) this.#table.delete(key);
    });
  }

  async #prune(): Promise<void> {
    this.#pruneWanted = false;
    const { services, reverseNat } = this.#maps;
    const ids = new Set([...this.#layout.values()].map((placed) => placed.id));
    const stale = (await services.entries()).filter(
      ([key]) => this.#layout.get(`${key.addr} ${key.port}/${key.protocol}`) === undefined,
    );
    await services.deleteMany(stale.map(([key]) => key));
    const staleIds = (await reverseNat.entries()).filter(([key]) => !ids.has(key.id));
    await reverseNat.deleteMany(staleIds.map(([key]) => key));
    this.#table.markSynced();
  }

  stop(): void {
    this.#trigger.stop();
  }
}

function serviceRow({ frontend, id, backendIds }: PlacedFrontend): ServiceRow {
  const { address, port, protocol, namespace, name, portName, type } = frontend;
  const backends = frontend.backends.map((backend, i) => ({
    id: backendIds[i]!,
    address: backend.address,
    port: backend.port,
    node: backend.node,
    state: backend.state,
  }));
  return { id, address, port, protocol, namespace, name, portName, type, backends };
}

/** `10.96.0.10:53/UDP` */
export function frontendText(row: Pick<ServiceRow, 'address' | 'port' | 'protocol'>): string {
  const host = row.address.includes(':') ? `[${row.address}]` : row.address;
  return `${host}:${row.port}/${protocolName(row.protocol)}`;
}
