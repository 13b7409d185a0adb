// SPDX-License-Identifier: Apache-2.0
import { addressFamily, bytesToAddress, parseAddress } from '@cilium-ts/net';
import type { DnsQuestion, DnsRecord } from 'dns-packet';
import { undashed, type ZoneData, type ZoneEndpoint, type ZonePort, type ZoneService } from './zone-data.ts';

export type ZoneAnswer =
  | {
      readonly kind: 'answer';
      readonly rcode: 'NOERROR' | 'NXDOMAIN';
      readonly answers: DnsRecord[];
      readonly additionals?: DnsRecord[];
    }
  /** An alias to a name outside of the zone. */
  | { readonly kind: 'alias'; readonly record: DnsRecord; readonly target: string }
  /** Not ours: ask upstream. */
  | { readonly kind: 'foreign' };

/** Seconds that answers may be kept. */
export const TTL = 5;

const NXDOMAIN: ZoneAnswer = { kind: 'answer', rcode: 'NXDOMAIN', answers: [] };
const MAX_ALIASES = 8;

/** Answers questions about the cluster domain and about reverse names of cluster addresses. */
export class Zone {
  readonly #domain: string;
  readonly #data: ZoneData;

  /** @param domain e.g. `cluster.local` */
  constructor(domain: string, data: ZoneData) {
    this.#domain = domain.toLowerCase().replace(/\.$/, '');
    this.#data = data;
  }

  resolve(question: DnsQuestion, depth = 0): ZoneAnswer {
    const name = question.name.toLowerCase().replace(/\.$/, '');
    if (name.endsWith('.in-addr.arpa') || name.endsWith('.ip6.arpa')) return this.#reverse(name, question);
    if (name === this.#domain) return this.#apex(question);
    if (!name.endsWith(`.${this.#domain}`)) return { kind: 'foreign' };
    const labels = name.slice(0, -this.#domain.length - 1).split('.');
    const zone = labels.pop();
    if (zone === 'svc') return this.#serviceName(question, labels, depth);
    if (zone === 'pod') return this.#podName(question, labels);
    if (zone === 'dns-version' && labels.length === 0) {
      return this.#found(question.type === 'TXT' ? [this.#record(question, 'TXT', '1.1.0')] : []);
    }
    if (zone === 'dns' && labels.length === 1 && labels[0] === 'ns') return this.#found([]);
    return NXDOMAIN;
  }

  /** For the authority section of negative answers. */
  soa(): DnsRecord {
    return {
      name: this.#domain,
      type: 'SOA',
      class: 'IN',
      ttl: TTL,
      data: {
        mname: `ns.dns.${this.#domain}`,
        rname: `hostmaster.${this.#domain}`,
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: TTL,
      },
    };
  }

  #apex(question: DnsQuestion): ZoneAnswer {
    if (question.type === 'SOA') return this.#found([this.soa()]);
    if (question.type !== 'NS') return this.#found([]);
    return this.#found([this.#record(question, 'NS', `ns.dns.${this.#domain}`)]);
  }

  #serviceName(question: DnsQuestion, labels: string[], depth: number): ZoneAnswer {
    const namespace = labels.pop();
    if (namespace === undefined) return this.#found([]);
    const name = labels.pop();
    if (name === undefined) return this.#data.hasNamespace(namespace) ? this.#found([]) : NXDOMAIN;
    const service = this.#data.service(namespace, name);
    if (!service) return NXDOMAIN;
    if (service.externalName !== undefined) {
      return labels.length === 0 ? this.#alias(question, service.externalName, depth) : NXDOMAIN;
    }
    if (labels.length === 0) return this.#wholeService(question, service);
    if (labels.length === 1) return this.#oneEndpoint(question, service, labels[0]!);
    const [port, protocol] = labels;
    if (labels.length === 2 && port!.startsWith('_') && protocol!.startsWith('_')) {
      return this.#ports(question, service, port!.slice(1), protocol!.slice(1));
    }
    return NXDOMAIN;
  }

  #wholeService(question: DnsQuestion, service: ZoneService): ZoneAnswer {
    if (question.type === 'SRV') return this.#services(question, service, () => true);
    const endpoints =
      service.addresses.length > 0 ? [] : this.#data.endpoints(service.namespace, service.name);
    if (service.addresses.length === 0 && endpoints.length === 0) return NXDOMAIN;
    const addresses =
      service.addresses.length > 0 ? service.addresses : endpoints.map(({ address }) => address);
    return this.#found(this.#addresses(question, addresses));
  }

  #oneEndpoint(question: DnsQuestion, service: ZoneService, label: string): ZoneAnswer {
    if (service.addresses.length > 0) {
      // `_tcp.svc` is an empty name above the ports' names.
      const hasProtocol = service.ports.some(({ protocol }) => `_${protocol}` === label);
      return hasProtocol ? this.#found([]) : NXDOMAIN;
    }
    const found = this.#data.endpoints(service.namespace, service.name).filter((one) => one.label === label);
    if (found.length === 0) return NXDOMAIN;
    return this.#found(
      this.#addresses(
        question,
        found.map(({ address }) => address),
      ),
    );
  }

  #ports(question: DnsQuestion, service: ZoneService, port: string, protocol: string): ZoneAnswer {
    const matches = (candidate: ZonePort): boolean =>
      candidate.name === port && candidate.protocol === protocol;
    const answer = this.#services({ ...question, type: 'SRV' }, service, matches);
    if (answer.kind !== 'answer' || answer.answers.length === 0) return NXDOMAIN;
    return question.type === 'SRV' || question.type === 'ANY' ? answer : this.#found([]);
  }

  /** SRV records, with the addresses of their targets. */
  #services(question: DnsQuestion, service: ZoneService, matches: (port: ZonePort) => boolean): ZoneAnswer {
    const own = `${service.name}.${service.namespace}.svc.${this.#domain}`;
    const targets: { name: string; address: string; ports: readonly ZonePort[] }[] =
      service.addresses.length > 0
        ? service.addresses.map((address) => ({ name: own, address, ports: service.ports }))
        : this.#data
            .endpoints(service.namespace, service.name)
            .map(({ label, address, ports }: ZoneEndpoint) => ({ name: `${label}.${own}`, address, ports }));
    const answers = new Map<string, DnsRecord>();
    const additionals = new Map<string, DnsRecord>();
    for (const { name, address, ports } of targets) {
      for (const port of ports.filter(matches)) {
        const data = { priority: 0, weight: 100, port: port.port, target: name };
        answers.set(`${name} ${port.port}`, this.#record(question, 'SRV', data));
        const type = addressFamily(address) === 6 ? 'AAAA' : 'A';
        additionals.set(`${name} ${address}`, { name, type, class: 'IN', ttl: TTL, data: address });
      }
    }
    if (targets.length === 0 && service.addresses.length === 0) return NXDOMAIN;
    return {
      kind: 'answer',
      rcode: 'NOERROR',
      answers: [...answers.values()],
      additionals: [...additionals.values()],
    };
  }

  #podName(question: DnsQuestion, labels: string[]): ZoneAnswer {
    const namespace = labels.pop();
    if (namespace === undefined) return this.#found([]);
    if (!this.#data.hasNamespace(namespace)) return NXDOMAIN;
    if (labels.length === 0) return this.#found([]);
    const address = labels.length === 1 ? undashed(labels[0]!) : undefined;
    return address === undefined ? NXDOMAIN : this.#found(this.#addresses(question, [address]));
  }

  #alias(question: DnsQuestion, target: string, depth: number): ZoneAnswer {
    const record = this.#record(question, 'CNAME', target.replace(/\.$/, ''));
    if (question.type === 'CNAME' || depth >= MAX_ALIASES) return this.#found([record]);
    const next = this.resolve({ ...question, name: target }, depth + 1);
    if (next.kind === 'foreign') return { kind: 'alias', record, target };
    if (next.kind === 'alias') return next;
    return { ...next, rcode: 'NOERROR', answers: [record, ...next.answers] };
  }

  #reverse(name: string, question: DnsQuestion): ZoneAnswer {
    const address = reverseAddress(name);
    if (address === undefined) return isPrivateReverse(name) ? NXDOMAIN : { kind: 'foreign' };
    const names = this.#data.namesOf(address);
    if (names.length === 0) return isPrivateReverse(name) ? NXDOMAIN : { kind: 'foreign' };
    if (question.type !== 'PTR') return this.#found([]);
    return this.#found(names.map((one) => this.#record(question, 'PTR', `${one}.${this.#domain}`)));
  }

  #addresses(question: DnsQuestion, addresses: readonly string[]): DnsRecord[] {
    const records: DnsRecord[] = [];
    for (const address of new Set(addresses)) {
      const type = addressFamily(address) === 6 ? 'AAAA' : 'A';
      if (question.type === type || question.type === 'ANY')
        records.push(this.#record(question, type, address));
    }
    return records;
  }

  #record(question: DnsQuestion, type: string, data: unknown): DnsRecord {
    return { name: question.name, type, class: 'IN', ttl: TTL, data };
  }

  #found(answers: DnsRecord[]): ZoneAnswer {
    return { kind: 'answer', rcode: 'NOERROR', answers };
  }
}

/** The address of a complete reverse name. */
export function reverseAddress(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const labels = name.slice(0, -'.in-addr.arpa'.length).split('.');
    const text = labels.reverse().join('.');
    return parseAddress(text) ? text : undefined;
  }
  const nibbles = name.slice(0, -'.ip6.arpa'.length).split('.').reverse();
  if (nibbles.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) return undefined;
  return bytesToAddress(Buffer.from(nibbles.join(''), 'hex'));
}

/** Reverse names of private addresses, about which nobody upstream knows. */
function isPrivateReverse(name: string): boolean {
  return /(^|\.)(10|168\.192|(1[6-9]|2\d|3[01])\.172)\.in-addr\.arpa$|[cd]\.f\.ip6\.arpa$/.test(name);
}
