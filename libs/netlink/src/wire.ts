// SPDX-License-Identifier: Apache-2.0
// Netlink messages as bytes: header, fixed part, attributes (all in host order, which is little endian here).

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
const NLA_F_NESTED = 0x8000;
const HEADER = 16;

const text = new TextEncoder();
const decoder = new TextDecoder();

/** Collects the bytes of one message body or of nested attributes. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #room(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#view.setUint32(at, value >>> 0, true);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  attribute(type: number, bytes: Uint8Array): this {
    this.u16(bytes.length + 4)
      .u16(type)
      .raw(bytes);
    this.#room((4 - (bytes.length & 3)) & 3);
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.attribute(type, Uint8Array.of(value));
  }

  attributeU32(type: number, value: number): this {
    return this.attribute(type, new Writer().u32(value).bytes());
  }

  attributeText(type: number, value: string): this {
    return this.attribute(type, text.encode(`${value}\0`));
  }

  nested(type: number, fill: (writer: Writer) => void): this {
    const inner = new Writer();
    fill(inner);
    return this.attribute(type | NLA_F_NESTED, inner.bytes());
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** One message with its header, padded to four bytes. */
export function encodeMessage(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const length = HEADER + body.length;
  const bytes = new Uint8Array((length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  bytes.set(body, HEADER);
  return bytes;
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

export function decodeMessages(bytes: Uint8Array): Message[] {
  const messages: Message[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > bytes.length) break;
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: bytes.subarray(at + HEADER, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Attributes by number; a repeated one keeps its last value. */
export class Attributes {
  readonly #byType = new Map<number, Uint8Array>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at + 4 <= bytes.length;) {
      const length = view.getUint16(at, true);
      if (length < 4 || at + length > bytes.length) break;
      this.#byType.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
      at += (length + 3) & ~3;
    }
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#byType.get(type);
  }

  u32(type: number): number | undefined {
    const bytes = this.#byType.get(type);
    return bytes && bytes.length >= 4
      ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
      : undefined;
  }

  text(type: number): string | undefined {
    const bytes = this.#byType.get(type);
    if (!bytes) return undefined;
    const end = bytes.indexOf(0);
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  nested(type: number): Attributes {
    return new Attributes(this.#byType.get(type) ?? new Uint8Array(0));
  }
}

/** The kernel's verdict on a request: errno (0 = done) and, where it says more, its own words. */
export function decodeError(message: Message): { errno: number; reason: string | undefined } {
  if (message.body.length < 4) return { errno: 0, reason: undefined };
  const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength);
  const errno = -view.getInt32(0, true);
  const ackAttributes = 0x200;
  // Behind the error stands the header of the request (its body is left out by NETLINK_CAP_ACK).
  const reason =
    message.flags & ackAttributes ? new Attributes(message.body.subarray(4 + HEADER)).text(1) : undefined;
  return { errno, reason };
}
