// SPDX-License-Identifier: Apache-2.0
import { cString } from './elf.ts';

/** One BTF type, only what layouts need. Offsets and sizes in bytes (bit fields are refused). */
export type BtfType =
  | { kind: 'void' }
  | { kind: 'int'; name: string; size: number; signed: boolean }
  | { kind: 'ptr'; to: number }
  | { kind: 'array'; element: number; count: number }
  | { kind: 'struct'; name: string; size: number; members: BtfMember[] }
  | { kind: 'enum'; name: string; size: number; values: { name: string; value: number }[] }
  | { kind: 'typedef'; name: string; to: number }
  | { kind: 'qualifier'; to: number }
  | { kind: 'var'; name: string; to: number }
  | { kind: 'datasec'; name: string; vars: number[] }
  | { kind: 'other' };

export interface BtfMember {
  name: string;
  type: number;
  offset: number;
}

/** Parses the bytes of a `.BTF` section; index 0 of the answer is `void`. @throws Error on bad magic or a bit field */
export function parseBtf(bytes: Uint8Array): BtfType[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== 0xeb9f) throw new Error('bad BTF magic');
  const headerSize = view.getUint32(4, true);
  const typeStart = headerSize + view.getUint32(8, true);
  const typeEnd = typeStart + view.getUint32(12, true);
  const strings = bytes.subarray(headerSize + view.getUint32(16, true));
  const u32 = (at: number): number => view.getUint32(at, true);
  const types: BtfType[] = [{ kind: 'void' }];
  let at = typeStart;
  while (at < typeEnd) {
    const name = cString(strings, u32(at));
    const info = u32(at + 4);
    const sizeOrType = u32(at + 8);
    const count = info & 0xffff;
    const [type, extra] = parseType((info >>> 24) & 0x1f, name, count, sizeOrType, at + 12);
    types.push(type);
    at += 12 + extra;
  }
  return types;

  function parseType(
    kind: number,
    name: string,
    count: number,
    sizeOrType: number,
    body: number,
  ): [BtfType, number] {
    switch (kind) {
      case 1:
        return [{ kind: 'int', name, size: sizeOrType, signed: ((u32(body) >>> 24) & 1) === 1 }, 4];
      case 2:
        return [{ kind: 'ptr', to: sizeOrType }, 0];
      case 3:
        return [{ kind: 'array', element: u32(body), count: u32(body + 8) }, 12];
      case 4:
      case 5:
        return [{ kind: 'struct', name, size: sizeOrType, members: members(name, count, body) }, 12 * count];
      case 6:
        return [{ kind: 'enum', name, size: sizeOrType, values: enumValues(count, body) }, 8 * count];
      case 8:
        return [{ kind: 'typedef', name, to: sizeOrType }, 0];
      case 9:
      case 10:
      case 11:
      case 18:
        return [{ kind: 'qualifier', to: sizeOrType }, 0];
      case 13:
        return [{ kind: 'other' }, 8 * count];
      case 14:
        return [{ kind: 'var', name, to: sizeOrType }, 4];
      case 15:
        return [{ kind: 'datasec', name, vars: range(count, (i) => u32(body + 12 * i)) }, 12 * count];
      case 17:
        return [{ kind: 'other' }, 4];
      case 19:
        return [{ kind: 'other' }, 12 * count];
      default:
        return [{ kind: 'other' }, 0];
    }
  }

  function members(owner: string, count: number, body: number): BtfMember[] {
    return range(count, (i) => {
      const at = body + 12 * i;
      const name = cString(strings, u32(at));
      const bits = u32(at + 8) & 0xffffff;
      if (bits % 8 !== 0) throw new Error(`struct ${owner}: ${name} is a bit field; use whole bytes`);
      return { name, type: u32(at + 4), offset: bits / 8 };
    });
  }

  function enumValues(count: number, body: number): { name: string; value: number }[] {
    return range(count, (i) => ({
      name: cString(strings, u32(body + 8 * i)),
      value: view.getInt32(body + 8 * i + 4, true),
    }));
  }
}

function range<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
