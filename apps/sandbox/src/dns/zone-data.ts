// SPDX-License-Identifier: Apache-2.0
import { bytesToAddress, normalizeAddress, parseAddress } from '@cilium-ts/net';
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  Reflector,
  SERVICES,
  type EndpointSlice,
  type KubeClient,
  type KubeObject,
  type Service,
} from '@cilium-ts/kube';
import type { Logger, Stoppable } from '@cilium-ts/base';

export interface ZonePort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
}

export interface ZoneEndpoint {
  readonly address: string;
  /** First label of the endpoint's own name: its hostname or its address with dashes. */
  readonly label: string;
  readonly ports: readonly ZonePort[];
}

export interface ZoneService {
  readonly name: string;
  readonly namespace: string;
  /** Empty for headless services. */
  readonly addresses: readonly string[];
  readonly externalName: string | undefined;
  readonly ports: readonly ZonePort[];
}

/** What the zone answers from. Names are in lower case. */
export interface ZoneData {
  service(namespace: string, name: string): ZoneService | undefined;
  /** Ready endpoints of a headless service. */
  endpoints(namespace: string, name: string): readonly ZoneEndpoint[];
  hasNamespace(name: string): boolean;
  /** Names (below the cluster domain, without it) of an address. */
  namesOf(address: string): readonly string[];
}

/** `10.1.2.3` as `10-1-2-3`, `fd00::1` as `fd00--1`. */
export function dashed(address: string): string {
  return address.replace(/[.:]/g, '-');
}

/** Reverse of dashed; undefined where the label is no address. */
export function undashed(label: string): string | undefined {
  const v4 = label.replaceAll('-', '.');
  if (parseAddress(v4)) return v4;
  const bytes = parseAddress(label.replaceAll('-', ':'));
  return bytes && bytesToAddress(bytes);
}

interface Mirror {
  start(): unknown;
  stop(): Promise<void>;
  readonly hasSynced: boolean;
}

const SERVICE_NAME = 'kubernetes.io/service-name';

/** Zone data mirrored from the API server, trimmed to what names need. */
export class ClusterZone implements ZoneData, Stoppable {
  readonly #services: Reflector<Service>;
  readonly #slices: Reflector<EndpointSlice>;
  readonly #namespaces: Reflector<KubeObject>;

  constructor(client: KubeClient, log: Logger) {
    this.#services = new Reflector({
      client,
      log,
      resource: SERVICES,
      transform: trimService,
      indexers: { address: (service) => addressesOf(service) },
    });
    this.#slices = new Reflector({
      client,
      log,
      resource: ENDPOINT_SLICES,
      transform: trimSlice,
      indexers: {
        service: ({ metadata }) => [`${metadata.namespace}/${metadata.labels?.[SERVICE_NAME] ?? ''}`],
        address: (slice) =>
          (slice.endpoints ?? []).flatMap(({ addresses }) => addresses.map(normalizeAddress)),
      },
    });
    this.#namespaces = new Reflector<KubeObject>({
      client,
      log,
      resource: NAMESPACES,
      transform: ({ metadata }) => ({ metadata: identityOf(metadata) }),
    });
  }

  start(): void {
    for (const reflector of this.#all()) reflector.start();
  }

  get ready(): boolean {
    return this.#all().every((reflector) => reflector.hasSynced);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all().map((reflector) => reflector.stop()));
  }

  #all(): readonly Mirror[] {
    return [this.#services, this.#slices, this.#namespaces];
  }

  service(namespace: string, name: string): ZoneService | undefined {
    const service = this.#services.store.getByName(namespace, name);
    return service && zoneService(service);
  }

  endpoints(namespace: string, name: string): readonly ZoneEndpoint[] {
    return this.#slices.store.byIndex('service', `${namespace}/${name}`).flatMap(zoneEndpoints);
  }

  hasNamespace(name: string): boolean {
    return this.#namespaces.store.get(name) !== undefined;
  }

  namesOf(address: string): readonly string[] {
    const names = this.#services.store
      .byIndex('address', address)
      .map(({ metadata }) => `${metadata.name}.${metadata.namespace}.svc`);
    for (const slice of this.#slices.store.byIndex('address', address)) {
      const service = slice.metadata.labels?.[SERVICE_NAME];
      const namespace = slice.metadata.namespace ?? '';
      if (!service || this.#services.store.getByName(namespace, service)?.spec?.clusterIP !== 'None')
        continue;
      for (const endpoint of zoneEndpoints(slice)) {
        if (endpoint.address === address) names.push(`${endpoint.label}.${service}.${namespace}.svc`);
      }
    }
    return names;
  }
}

function identityOf(metadata: KubeObject['metadata']): KubeObject['metadata'] {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { name, namespace, uid, resourceVersion };
}

function trimService({ metadata, spec }: Service): Service {
  const { clusterIP, clusterIPs, type, externalName, ports } = spec ?? {};
  return { metadata: identityOf(metadata), spec: { clusterIP, clusterIPs, type, externalName, ports } };
}

function trimSlice(slice: EndpointSlice): EndpointSlice {
  const service = slice.metadata.labels?.[SERVICE_NAME];
  return {
    metadata: { ...identityOf(slice.metadata), ...(service ? { labels: { [SERVICE_NAME]: service } } : {}) },
    addressType: slice.addressType,
    endpoints: (slice.endpoints ?? []).map(({ addresses, hostname, conditions }) => ({
      addresses,
      hostname,
      conditions,
    })),
    ports: slice.ports,
  };
}

function addressesOf(service: Service): string[] {
  const { clusterIP, clusterIPs, type } = service.spec ?? {};
  if (type === 'ExternalName') return [];
  const given = clusterIPs && clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? ''];
  return given.filter((address) => parseAddress(address) !== undefined).map(normalizeAddress);
}

function zoneService(service: Service): ZoneService {
  const { name, namespace = '' } = service.metadata;
  return {
    name,
    namespace,
    addresses: addressesOf(service),
    externalName: service.spec?.type === 'ExternalName' ? service.spec.externalName : undefined,
    ports: (service.spec?.ports ?? []).map((port) => ({
      name: port.name ?? '',
      protocol: (port.protocol ?? 'TCP').toLowerCase(),
      port: port.port,
    })),
  };
}

function zoneEndpoints(slice: EndpointSlice): ZoneEndpoint[] {
  const ports = (slice.ports ?? []).map((port) => ({
    name: port.name ?? '',
    protocol: (port.protocol ?? 'TCP').toLowerCase(),
    port: port.port ?? 0,
  }));
  return (slice.endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false)
    .flatMap(({ addresses, hostname }) =>
      addresses
        .map(normalizeAddress)
        .map((address) => ({ address, label: hostname?.toLowerCase() || dashed(address), ports })),
    );
}
