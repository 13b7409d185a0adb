// SPDX-License-Identifier: Apache-2.0
// The part of dns-packet 5 that the cluster DNS uses; the package brings no types.
declare module 'dns-packet' {
  export interface DnsQuestion {
    name: string;
    type: string;
    class?: string;
  }
  export interface DnsRecord {
    name: string;
    type: string;
    class?: string;
    ttl?: number;
    data?: unknown;
    udpPayloadSize?: number;
    flags?: number;
    options?: unknown[];
  }
  export interface DnsMessage {
    id?: number;
    type?: 'query' | 'response';
    flags?: number;
    opcode?: string;
    rcode?: string;
    flag_tc?: boolean;
    questions?: DnsQuestion[];
    answers?: DnsRecord[];
    authorities?: DnsRecord[];
    additionals?: DnsRecord[];
  }
  const packet: {
    readonly AUTHORITATIVE_ANSWER: number;
    readonly TRUNCATED_RESPONSE: number;
    readonly RECURSION_DESIRED: number;
    readonly RECURSION_AVAILABLE: number;
    encode(message: DnsMessage): Buffer;
    decode(buffer: Uint8Array): DnsMessage;
  };
  export default packet;
}
