// SPDX-License-Identifier: Apache-2.0
import type { Dict, FieldError, KubeObject } from './model.ts';
import { field, invalid } from './status.ts';

const SERVICE = { group: '', plural: 'services', kind: 'Service' };
const FIRST_PORT = 30000;
const LAST_PORT = 32767;
/** Below this host number addresses are left to those who ask for them (`kubernetes` .1, `kube-dns` .10). */
const FIRST_DYNAMIC = 256;
const LAST_DYNAMIC = 65_000;
const FAMILIES = ['IPv4', 'IPv6'] as const;
type Family = (typeof FAMILIES)[number];

export interface ServiceRanges {
  /** First two octets of the /16, `10.96`. */
  readonly ipv4Prefix: string;
  /** The /112 without its last group, `fd00:10:96::`. */
  readonly ipv6Prefix: string;
}

export const DEFAULT_RANGES: ServiceRanges = { ipv4Prefix: '10.96', ipv6Prefix: 'fd00:10:96::' };

/** Cluster IPs and node ports of Services. */
export class ServiceAddresses {
  private readonly ranges: ServiceRanges;
  private readonly owners = new Map<string, string>();
  private readonly ports = new Map<number, string>();
  private next = FIRST_DYNAMIC;
  private nextPort = FIRST_PORT;

  constructor(ranges: ServiceRanges = DEFAULT_RANGES) {
    this.ranges = ranges;
  }

  /** Fills clusterIP(s), families and node ports of `service`, in place. Throws 422 for what cannot be had. */
  assign(service: KubeObject, old: KubeObject | null, dryRun: boolean): void {
    const spec = (service.spec ??= {}) as Dict;
    const errors: FieldError[] = [];
    const owner = `${service.metadata.namespace}/${service.metadata.name}`;
    if (spec.type === 'ExternalName') {
      for (const key of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) delete spec[key];
      if (old) this.release(old);
      return;
    }
    if (old) carryOver(spec, old.spec as Dict, errors);
    this.chooseFamilies(spec, errors);
    if (errors.length === 0) this.assignAddresses(spec, owner, errors);
    if (errors.length === 0) this.assignPorts(spec, owner, errors);
    if (errors.length > 0) throw invalid(SERVICE, service.metadata.name, errors);
    if (dryRun) return;
    if (old) this.release(old);
    for (const address of addressesOf(spec)) this.owners.set(address, owner);
    for (const port of nodePortsOf(spec)) this.ports.set(port, owner);
  }

  release(service: KubeObject): void {
    const owner = `${service.metadata.namespace}/${service.metadata.name}`;
    for (const address of addressesOf(service.spec as Dict))
      if (this.owners.get(address) === owner) this.owners.delete(address);
    for (const port of nodePortsOf(service.spec as Dict))
      if (this.ports.get(port) === owner) this.ports.delete(port);
  }

  private chooseFamilies(spec: Dict, errors: FieldError[]): void {
    const policies = ['SingleStack', 'PreferDualStack', 'RequireDualStack'];
    const given = (spec.ipFamilies ?? []) as string[];
    const asked = given.length > 0 ? given : addressesOf(spec).map(familyOf);
    spec.ipFamilyPolicy ??= asked.length > 1 ? 'RequireDualStack' : 'SingleStack';
    if (!policies.includes(spec.ipFamilyPolicy as string))
      errors.push(field.unsupported('spec.ipFamilyPolicy', spec.ipFamilyPolicy, policies));
    for (const [index, family] of asked.entries()) {
      if (!FAMILIES.includes(family as Family))
        errors.push(field.unsupported(`spec.ipFamilies[${index}]`, family, FAMILIES));
      if (asked.indexOf(family) !== index) errors.push(field.duplicate(`spec.ipFamilies[${index}]`, family));
    }
    if (asked.length > 1 && spec.ipFamilyPolicy === 'SingleStack')
      errors.push(
        field.invalid(
          'spec.ipFamilies',
          asked,
          'may only hold one family when `spec.ipFamilyPolicy` is SingleStack',
        ),
      );
    const first = (asked[0] ?? 'IPv4') as Family;
    const second: Family = first === 'IPv4' ? 'IPv6' : 'IPv4';
    spec.ipFamilies = spec.ipFamilyPolicy === 'SingleStack' ? [first] : [first, second];
  }

  private assignAddresses(spec: Dict, owner: string, errors: FieldError[]): void {
    if (spec.clusterIP === 'None' || spec.clusterIPs?.[0] === 'None') {
      spec.clusterIP = 'None';
      spec.clusterIPs = ['None'];
      return;
    }
    const wanted = [...((spec.clusterIPs ?? []) as string[])];
    if (spec.clusterIP && wanted[0] === undefined) wanted[0] = spec.clusterIP as string;
    if (spec.clusterIP && wanted[0] !== spec.clusterIP)
      errors.push(field.invalid('spec.clusterIPs', wanted, 'first value must match `clusterIP`'));
    const host = this.freeHost();
    const addresses = (spec.ipFamilies as Family[]).map((family, index) => {
      const path = index === 0 && spec.clusterIP ? 'spec.clusterIP' : `spec.clusterIPs[${index}]`;
      const given = wanted[index];
      if (given === undefined || given === '') return this.address(family, host);
      errors.push(...this.checkAddress(given, family, owner, path));
      return given;
    });
    spec.clusterIPs = addresses;
    spec.clusterIP = addresses[0];
  }

  private checkAddress(address: string, family: Family, owner: string, path: string): FieldError[] {
    const prefix = family === 'IPv4' ? `${this.ranges.ipv4Prefix}.` : this.ranges.ipv6Prefix;
    const range = family === 'IPv4' ? `${this.ranges.ipv4Prefix}.0.0/16` : `${this.ranges.ipv6Prefix}/112`;
    if (!/^(\d+\.){3}\d+$/.test(address) && !address.includes(':'))
      return [field.invalid(path, address, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')];
    if (!address.startsWith(prefix))
      return [
        field.invalid(
          path,
          address,
          `failed to allocate IP ${address}: the provided IP (${address}) is not in the valid range. The range of valid IPs is ${range}`,
        ),
      ];
    const holder = this.owners.get(address);
    if (holder !== undefined && holder !== owner)
      return [
        field.invalid(path, address, `failed to allocate IP ${address}: provided IP is already allocated`),
      ];
    return [];
  }

  private address(family: Family, host: number): string {
    if (family === 'IPv4') return `${this.ranges.ipv4Prefix}.${host >> 8}.${host & 0xff}`;
    return `${this.ranges.ipv6Prefix}${host.toString(16)}`;
  }

  private freeHost(): number {
    for (let tries = 0; tries < LAST_DYNAMIC; tries++) {
      const host = this.next++;
      if (this.next > LAST_DYNAMIC) this.next = FIRST_DYNAMIC;
      const octet = host & 0xff;
      const taken =
        octet === 0 ||
        octet === 255 ||
        FAMILIES.some((family) => this.owners.has(this.address(family, host)));
      if (!taken) return host;
    }
    throw new Error('the service range is full');
  }

  private assignPorts(spec: Dict, owner: string, errors: FieldError[]): void {
    const exposed =
      spec.type === 'NodePort' ||
      (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
    const taken = new Set<number>();
    for (const [index, port] of ((spec.ports ?? []) as Dict[]).entries()) {
      if (!exposed) {
        delete port.nodePort;
        continue;
      }
      const path = `spec.ports[${index}].nodePort`;
      if (!port.nodePort) port.nodePort = this.freePort(taken);
      else if (port.nodePort < FIRST_PORT || port.nodePort > LAST_PORT)
        errors.push(
          field.invalid(
            path,
            port.nodePort,
            `provided port is not in the valid range. The range of valid ports is ${FIRST_PORT}-${LAST_PORT}`,
          ),
        );
      else if ((this.ports.get(port.nodePort as number) ?? owner) !== owner)
        errors.push(field.invalid(path, port.nodePort, 'provided port is already allocated'));
      taken.add(port.nodePort as number);
    }
  }

  private freePort(taken: ReadonlySet<number>): number {
    for (let tries = FIRST_PORT; tries <= LAST_PORT; tries++) {
      const port = this.nextPort++;
      if (this.nextPort > LAST_PORT) this.nextPort = FIRST_PORT;
      if (!this.ports.has(port) && !taken.has(port)) return port;
    }
    throw new Error('the node port range is full');
  }
}

/** Addresses and node ports stay with an update that does not name them; a changed address is refused. */
function carryOver(spec: Dict, old: Dict, errors: FieldError[]): void {
  if (old.type === 'ExternalName') return;
  const upgrade = spec.ipFamilyPolicy !== undefined && spec.ipFamilyPolicy !== old.ipFamilyPolicy;
  if (spec.clusterIP && old.clusterIP && spec.clusterIP !== old.clusterIP)
    errors.push(field.invalid('spec.clusterIPs[0]', spec.clusterIP, 'may not change once set'));
  spec.clusterIP ??= old.clusterIP as unknown;
  spec.ipFamilyPolicy ??= old.ipFamilyPolicy as unknown;
  const single = spec.ipFamilyPolicy === 'SingleStack';
  if (upgrade && single) spec.clusterIPs = [old.clusterIP];
  else spec.clusterIPs ??= old.clusterIPs as unknown;
  const families = (spec.ipFamilies ?? old.ipFamilies ?? []) as string[];
  spec.ipFamilies = single ? families.slice(0, 1) : families;
  const before = (old.ports ?? []) as Dict[];
  for (const port of (spec.ports ?? []) as Dict[]) {
    const same = before.find(
      (known) => known.port === port.port && known.protocol === (port.protocol ?? 'TCP'),
    );
    if (!port.nodePort && same?.nodePort) port.nodePort = same.nodePort as number;
  }
}

const familyOf = (address: string): Family => (address.includes(':') ? 'IPv6' : 'IPv4');

function addressesOf(spec: Dict | undefined): string[] {
  const all = (spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])) as string[];
  return all.filter((address) => address && address !== 'None');
}

function nodePortsOf(spec: Dict | undefined): number[] {
  return ((spec?.ports ?? []) as Dict[]).flatMap((port) => (port.nodePort ? [port.nodePort as number] : []));
}
