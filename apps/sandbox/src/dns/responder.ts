// SPDX-License-Identifier: Apache-2.0
import packet, { type DnsMessage, type DnsQuestion, type DnsRecord } from 'dns-packet';
import type { Upstream } from './upstream.ts';
import type { Zone } from './zone.ts';

const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
type Rcode = keyof typeof RCODES;

/** Bytes: without EDNS, and at most with it (fits a packet on any path). */
const PLAIN_UDP_SIZE = 512;
const MAX_UDP_SIZE = 1232;
const MAX_MESSAGE = 65_535;

export type Transport = 'udp' | 'tcp';

/** Turns one query into one answer. */
export class Responder {
  readonly #zone: Zone;
  readonly #upstream: Upstream;

  constructor(zone: Zone, upstream: Upstream) {
    this.#zone = zone;
    this.#upstream = upstream;
  }

  /** Undefined for what is not worth an answer: fragments, answers of others. */
  async answer(query: Buffer, transport: Transport): Promise<Buffer | undefined> {
    if (query.length < 12 || (query[2]! & 0x80) !== 0) return undefined;
    let message: DnsMessage;
    try {
      message = packet.decode(query);
    } catch {
      return header(query, 'FORMERR');
    }
    const question = message.questions?.[0];
    if (message.opcode !== 'QUERY') return header(query, 'NOTIMP');
    if (message.questions?.length !== 1 || !question) return header(query, 'FORMERR');
    try {
      return await this.#resolve(query, message, question, transport);
    } catch {
      return header(query, 'SERVFAIL');
    }
  }

  async #resolve(
    query: Buffer,
    message: DnsMessage,
    question: DnsQuestion,
    transport: Transport,
  ): Promise<Buffer> {
    const result = this.#zone.resolve(question);
    if (result.kind === 'foreign') {
      return (await this.#upstream.forward(query, transport)) ?? header(query, 'SERVFAIL');
    }
    if (result.kind === 'alias')
      return this.#follow(message, question, result.record, result.target, transport);
    const negative = result.answers.length === 0;
    return encode(message, question, transport, {
      rcode: result.rcode,
      answers: shuffled(result.answers),
      authorities: negative ? [this.#zone.soa()] : [],
      additionals: result.additionals ?? [],
    });
  }

  /** An ExternalName: its target's records come from upstream. */
  async #follow(
    message: DnsMessage,
    question: DnsQuestion,
    alias: DnsRecord,
    target: string,
    transport: Transport,
  ): Promise<Buffer> {
    const ask = packet.encode({
      type: 'query',
      id: Math.floor(Math.random() * 0x10000),
      flags: packet.RECURSION_DESIRED,
      questions: [{ ...question, name: target.replace(/\.$/, '') }],
    });
    const answer = await this.#upstream.forward(ask, transport);
    const found = answer ? (packet.decode(answer).answers ?? []) : [];
    return encode(message, question, transport, {
      rcode: answer ? 'NOERROR' : 'SERVFAIL',
      answers: [alias, ...found],
      authorities: [],
      additionals: [],
    });
  }
}

interface Sections {
  readonly rcode: Rcode;
  readonly answers: DnsRecord[];
  readonly authorities: DnsRecord[];
  readonly additionals: DnsRecord[];
}

function encode(query: DnsMessage, question: DnsQuestion, transport: Transport, sections: Sections): Buffer {
  const edns = query.additionals?.find(({ type }) => type === 'OPT');
  const opt = edns ? [{ name: '.', type: 'OPT', udpPayloadSize: MAX_UDP_SIZE, flags: 0, options: [] }] : [];
  const limit =
    transport === 'tcp'
      ? MAX_MESSAGE
      : Math.max(PLAIN_UDP_SIZE, Math.min(edns?.udpPayloadSize ?? PLAIN_UDP_SIZE, MAX_UDP_SIZE));
  const flags =
    packet.AUTHORITATIVE_ANSWER |
    packet.RECURSION_AVAILABLE |
    ((query.flags ?? 0) & packet.RECURSION_DESIRED) |
    RCODES[sections.rcode];
  const base = { type: 'response' as const, id: query.id ?? 0, questions: [question] };
  const { answers, authorities, additionals } = sections;
  const whole = packet.encode({
    ...base,
    flags,
    answers,
    authorities,
    additionals: [...additionals, ...opt],
  });
  if (whole.length <= limit) return whole;
  // Additional records are a courtesy; without answers the client asks again by TCP.
  const lean = packet.encode({ ...base, flags, answers, authorities, additionals: opt });
  if (lean.length <= limit) return lean;
  return packet.encode({ ...base, flags: flags | packet.TRUNCATED_RESPONSE, additionals: opt });
}

/** An answer that is only a header, made from the query's own without trusting the rest of it. */
function header(query: Buffer, rcode: Rcode): Buffer {
  const answer = Buffer.alloc(12);
  query.copy(answer, 0, 0, 4);
  answer[2] = (query[2]! & 0x79) | 0x80;
  answer[3] = 0x80 | RCODES[rcode];
  return answer;
}

/** Addresses in changing order, so that clients that take the first one spread. Aliases stay in front. */
function shuffled(records: DnsRecord[]): DnsRecord[] {
  if (records.length < 2 || records.some(({ type }) => type === 'CNAME')) return records;
  const start = Math.floor(Math.random() * records.length);
  return [...records.slice(start), ...records.slice(0, start)];
}
