// SPDX-License-Identifier: Apache-2.0
import type { Dict } from './model.ts';
import { badRequest } from './status.ts';
import { typeRecord, type TypeField, type TypeRecord } from './type-table.ts';

const MAGIC = Buffer.from('k8s\0');

/** Reads protobuf wire format; throws RangeError past the end. */
class Reader {
  at = 0;
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get more(): boolean {
    return this.at < this.bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new RangeError('unfinished number');
  }

  chunk(): Buffer {
    const length = Number(this.varint());
    if (length < 0 || this.at + length > this.bytes.length)
      throw new RangeError('a field is longer than its message');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** The raw value of one field: a number for wire types 0, 1 and 5, bytes for 2. */
  value(wireType: number): bigint | number | Buffer {
    if (wireType === 0) return this.varint();
    if (wireType === 2) return this.chunk();
    const size = wireType === 1 ? 8 : wireType === 5 ? 4 : 0;
    if (size === 0 || this.at + size > this.bytes.length)
      throw new RangeError(`unknown wire type ${wireType}`);
    this.at += size;
    return size === 8 ? this.bytes.readDoubleLE(this.at - 8) : this.bytes.readFloatLE(this.at - 4);
  }
}

/** Number -> last raw value; for messages of a few singular fields. */
function readFlat(bytes: Buffer): Map<number, bigint | number | Buffer> {
  const reader = new Reader(bytes);
  const fields = new Map<number, bigint | number | Buffer>();
  while (reader.more) {
    const tag = Number(reader.varint());
    fields.set(tag >> 3, reader.value(tag & 7));
  }
  return fields;
}

function timeText(bytes: Buffer, micro: boolean): string | null {
  const fields = readFlat(bytes);
  const seconds = Number(fields.get(1) ?? 0n);
  const nanos = Number(fields.get(2) ?? 0n);
  if (!fields.has(1) && !fields.has(2)) return null;
  const text = new Date(seconds * 1000).toISOString();
  const fraction = micro ? `.${String(Math.floor(nanos / 1000)).padStart(6, '0')}` : '';
  return text.replace(/\.\d+Z$/, `${fraction}Z`);
}

function primitive(letter: string, raw: bigint | number | Buffer): unknown {
  if (!Buffer.isBuffer(raw)) {
    if (letter === 'b') return raw !== 0n;
    return Number(raw);
  }
  switch (letter) {
    case 'y':
      return raw.toString('base64');
    case 'q':
      return String(readFlat(raw).get(1) ?? '0');
    case 't':
    case 'T':
      return timeText(raw, letter === 'T');
    case 'x': {
      const fields = readFlat(raw);
      return Number(fields.get(1) ?? 0n) === 1 ? String(fields.get(3) ?? '') : Number(fields.get(2) ?? 0n);
    }
    case 'R':
    case 'F': {
      const json = readFlat(raw).get(1);
      return json ? (JSON.parse(String(json)) as unknown) : null;
    }
    default:
      return raw.toString('utf8');
  }
}

function decodeValue(field: TypeField, raw: bigint | number | Buffer): unknown {
  if (field.primitive) return primitive(field.type, raw);
  if (!Buffer.isBuffer(raw)) throw new RangeError(`field ${field.name} is not a message`);
  const record = typeRecord(field.type);
  if (!record) throw new RangeError(`no type ${field.type}`);
  // Lists of strings that have a message of their own are lists in JSON.
  if (record.name.endsWith('.ExtraValue')) return (decodeRecord(record, raw).items ?? []) as unknown;
  return decodeRecord(record, raw);
}

/** Go's encoder writes plain fields even when empty; JSON leaves those out. */
function isEmptyPlain(field: TypeField, value: unknown): boolean {
  if (field.pointer) return false;
  if (value === null || value === '' || value === 0 || value === false) return true;
  return field.optional && typeof value === 'object' && Object.keys(value as object).length === 0;
}

function decodeRecord(record: TypeRecord, bytes: Buffer): Dict {
  const reader = new Reader(bytes);
  const out: Dict = {};
  while (reader.more) {
    const tag = Number(reader.varint());
    const raw = reader.value(tag & 7);
    const field = record.byNumber.get(tag >> 3);
    if (!field) continue;
    if (field.inline) Object.assign(out, decodeValue(field, raw));
    else if (field.container === 'list') {
      const list = (out[field.name] ??= []) as unknown[];
      if (field.primitive && 'ilb'.includes(field.type) && Buffer.isBuffer(raw)) {
        const packed = new Reader(raw);
        while (packed.more) list.push(primitive(field.type, packed.varint()));
      } else list.push(decodeValue(field, raw));
    } else if (field.container === 'map') {
      const entry = readFlat(raw as Buffer);
      const value = entry.get(2) ?? Buffer.alloc(0);
      ((out[field.name] ??= {}) as Dict)[String(entry.get(1) ?? '')] = decodeValue(field, value);
    } else {
      const value = decodeValue(field, raw);
      if (!isEmptyPlain(field, value)) out[field.name] = value;
    }
  }
  return out;
}

/** Group of an apiVersion -> group of the type table. */
export function tableGroup(apiVersion: string): string {
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  return group === '' ? 'core' : group.replace(/\.k8s\.io$/, '').replace(/^rbac\.authorization$/, 'rbac');
}

/** Decodes one record type; for tests and callers that know the type. Throws 400 for damaged bytes. */
export function decodeType(typeName: string, bytes: Buffer): Dict {
  const record = typeRecord(typeName);
  if (!record) throw badRequest(`no protobuf decoder for ${typeName}; send JSON`);
  try {
    return decodeRecord(record, bytes);
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError)
      throw badRequest(`the protobuf body of ${typeName} is damaged: ${error.message}`);
    throw error;
  }
}

/** Decodes a body of `application/vnd.kubernetes.protobuf` into the JSON form. Throws 400 for what it cannot read. */
export function decodeProtobufBody(body: Buffer): Dict {
  if (!body.subarray(0, 4).equals(MAGIC)) throw badRequest('the protobuf body lacks the k8s prefix');
  try {
    const envelope = readFlat(body.subarray(4));
    const meta = readFlat((envelope.get(1) as Buffer | undefined) ?? Buffer.alloc(0));
    const apiVersion = String(meta.get(1) ?? '');
    const kind = String(meta.get(2) ?? '');
    const raw = (envelope.get(2) as Buffer | undefined) ?? Buffer.alloc(0);
    const type = kind === 'DeleteOptions' ? 'meta.DeleteOptions' : `${tableGroup(apiVersion)}.${kind}`;
    return { apiVersion, kind, ...decodeType(type, raw) };
  } catch (error) {
    if (error instanceof RangeError) throw badRequest(`the protobuf body is damaged: ${error.message}`);
    throw error;
  }
}
