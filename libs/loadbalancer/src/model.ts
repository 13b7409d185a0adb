// SPDX-License-Identifier: Apache-2.0

/** The parts of a Kubernetes Service that make frontends. */
export interface ServiceInput {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  readonly clusterIps: readonly string[];
  readonly affinityTimeoutSeconds: number;
  readonly localOnly: boolean;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number;
    /** IP protocol number. */
    readonly protocol: number;
  }[];
}

/** The parts of an EndpointSlice that make backends. */
export interface SliceInput {
  readonly addressFamily: 4 | 6;
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: number }[];
  readonly endpoints: readonly {
    readonly addresses: readonly string[];
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
    readonly node: string;
  }[];
}

export interface Backend {
  readonly address: string;
  readonly port: number;
  readonly protocol: number;
  readonly node: string;
  readonly state: 'active' | 'terminating';
}

/** One address and port that clients use, and who answers. */
export interface Frontend {
  readonly address: string;
  readonly port: number;
  readonly protocol: number;
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly type: string;
  readonly affinityTimeoutSeconds: number;
  /** Without any the packets are dropped with a reason. */
  readonly backends: readonly Backend[];
}

/** `10.96.0.1:443/6`: what a frontend is called in tables. */
export function frontendKey(frontend: Pick<Frontend, 'address' | 'port' | 'protocol'>): string {
  return `${frontend.address} ${frontend.port}/${frontend.protocol}`;
}

const isV6 = (address: string): boolean => address.includes(':');

/** Frontends of one service. Headless services and ExternalName have none. */
export function frontendsOf(service: ServiceInput, slices: readonly SliceInput[], node: string): Frontend[] {
  const addresses = service.clusterIps.filter((address) => address !== '' && address !== 'None');
  return addresses.flatMap((address) =>
    service.ports.map((port) => ({
      address,
      port: port.port,
      protocol: port.protocol,
      namespace: service.namespace,
      name: service.name,
      portName: port.name,
      type: service.type,
      affinityTimeoutSeconds: service.affinityTimeoutSeconds,
      backends: backendsOf(service, slices, { ...port, family: isV6(address) ? 6 : 4, node }),
    })),
  );
}

/** Ready endpoints; where there are none, those that still serve while they go. Sorted, so that equal input is equal output. */
function backendsOf(
  service: ServiceInput,
  slices: readonly SliceInput[],
  wanted: { readonly name: string; readonly protocol: number; readonly family: 4 | 6; readonly node: string },
): Backend[] {
  const active = new Map<string, Backend>();
  const leaving = new Map<string, Backend>();
  for (const slice of slices) {
    if (slice.addressFamily !== wanted.family) continue;
    const ports = slice.ports.filter(
      (port) => port.name === wanted.name && port.protocol === wanted.protocol,
    );
    for (const endpoint of slice.endpoints) {
      if (service.localOnly && endpoint.node !== wanted.node) continue;
      const isActive = endpoint.ready && !endpoint.terminating;
      if (!isActive && !(endpoint.terminating && endpoint.serving)) continue;
      for (const { port } of ports) {
        for (const address of endpoint.addresses) {
          const state = isActive ? 'active' : 'terminating';
          const backend: Backend = { address, port, protocol: wanted.protocol, node: endpoint.node, state };
          (isActive ? active : leaving).set(`${address} ${port}`, backend);
        }
      }
    }
  }
  const chosen = active.size > 0 ? active : leaving;
  return [...chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);
}
