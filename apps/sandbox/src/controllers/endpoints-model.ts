// SPDX-License-Identifier: Apache-2.0
import { addressFamily } from '@cilium-ts/net';
import type { Pod, Service, ServicePort, SliceEndpoint } from '@cilium-ts/kube';
import { canonicalJson } from './canonical.ts';
import { isPodFinished, isPodReady } from './pods.ts';

export interface SlicePort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly appProtocol?: string | undefined;
}

/** Endpoints of one address family whose pods resolve the service's ports to the same numbers. */
export interface EndpointGroup {
  readonly addressType: 'IPv4' | 'IPv6';
  readonly ports: readonly SlicePort[];
  readonly endpoints: SliceEndpoint[];
}

/** The families a service has endpoints in. */
export function familiesOf(service: Service): ('IPv4' | 'IPv6')[] {
  const given = service.spec?.ipFamilies as ('IPv4' | 'IPv6')[] | undefined;
  if (given && given.length > 0) return given;
  const addresses = (service.spec?.clusterIPs ?? [service.spec?.clusterIP ?? '']).filter(
    (address) => address !== '' && address !== 'None',
  );
  if (addresses.length === 0) return ['IPv4'];
  return addresses.map((address) => (addressFamily(address) === 6 ? 'IPv6' : 'IPv4'));
}

export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** The number of a service port in one pod; undefined where the pod has no port of that name. */
function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target === 0 ? port.port : target;
  if (/^\d+$/.test(target)) return Number(target);
  const containers = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always'),
  ];
  for (const container of containers) {
    for (const named of container.ports ?? []) {
      if (named.name === target && (named.protocol ?? 'TCP') === (port.protocol ?? 'TCP')) {
        return named.containerPort;
      }
    }
  }
  return undefined;
}

export function podPorts(service: Service, pod: Pod): SlicePort[] {
  const ports: SlicePort[] = [];
  for (const port of service.spec?.ports ?? []) {
    const number = targetPort(port, pod);
    if (number === undefined) continue;
    const protocol = port.protocol ?? 'TCP';
    const app = port.appProtocol ? { appProtocol: port.appProtocol } : {};
    ports.push({ name: port.name ?? '', port: number, protocol, ...app });
  }
  return ports;
}

function podAddress(pod: Pod, type: 'IPv4' | 'IPv6'): string | undefined {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const all = listed.length > 0 ? listed : [pod.status?.podIP ?? ''];
  return all.find((ip) => ip !== '' && (addressFamily(ip) === 6) === (type === 'IPv6'));
}

function endpointOf(service: Service, pod: Pod, address: string, zone: string | undefined): SliceEndpoint {
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const serving = service.spec?.publishNotReadyAddresses === true || isPodReady(pod);
  const { name, namespace, uid } = pod.metadata;
  const { hostname, subdomain, nodeName } = pod.spec ?? {};
  const named = hostname && subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: {
      ready: service.spec?.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    ...(named ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}

/** All endpoints of a service, grouped as slices need them. `zoneOf` gives a node's zone. */
export function endpointGroups(
  service: Service,
  pods: readonly Pod[],
  zoneOf: (node: string | undefined) => string | undefined,
): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  const hasPorts = (service.spec?.ports?.length ?? 0) > 0;
  for (const addressType of familiesOf(service)) {
    for (const pod of pods) {
      if (isPodFinished(pod)) continue;
      const address = podAddress(pod, addressType);
      if (address === undefined) continue;
      const ports = podPorts(service, pod);
      if (hasPorts && ports.length === 0) continue;
      const key = `${addressType} ${canonicalJson(ports)}`;
      let group = groups.get(key);
      if (!group) groups.set(key, (group = { addressType, ports, endpoints: [] }));
      group.endpoints.push(endpointOf(service, pod, address, zoneOf(pod.spec?.nodeName)));
    }
    // A service without endpoints has one empty slice, which says that it was looked at.
    if (![...groups.values()].some((group) => group.addressType === addressType)) {
      groups.set(addressType, { addressType, ports: [], endpoints: [] });
    }
  }
  for (const group of groups.values())
    group.endpoints.sort((a, b) => (a.addresses[0]! < b.addresses[0]! ? -1 : 1));
  return [...groups.values()];
}
