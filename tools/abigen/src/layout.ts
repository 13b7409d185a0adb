// SPDX-License-Identifier: Apache-2.0
import type { BtfType } from './btf.ts';
import type { Declarations } from './compile.ts';

/** How one member is written in TypeScript. `bytes` is the size in memory. */
export type FieldType =
  | { kind: 'uint'; bytes: 1 | 2 | 4 | 8; bigEndian: boolean }
  | { kind: 'address' }
  | { kind: 'mac' }
  | { kind: 'bytes'; length: number };

export interface Field {
  name: string;
  offset: number;
  size: number;
  /** The C type, as far as it carries meaning: a typedef, `struct x`, `__u32`. */
  cType: string;
  type: FieldType;
  padding: boolean;
}

export interface Struct {
  name: string;
  size: number;
  fields: Field[];
}

export interface Enumeration {
  name: string;
  values: { name: string; value: number }[];
}

/** A key or value type: a struct by name, or a bare unsigned number. */
export type ElementType = { struct: string } | { uint: 4 | 8 };

export interface MapDefinition {
  name: string;
  type: number;
  maxEntries: number;
  flags: number;
  key?: ElementType;
  value?: ElementType;
  inner?: MapDefinition;
}

export interface Layout {
  structs: Struct[];
  enums: Enumeration[];
  maps: MapDefinition[];
}

/** Types that are written as text, not as an object of their own. */
const TEXT_STRUCTS = new Set(['ip_addr', 'mac_addr']);

/** @throws Error naming the member whose type has no TypeScript form */
export function buildLayout(types: BtfType[], declarations: Declarations): Layout {
  const reader = new LayoutReader(types);
  return {
    structs: declarations.structs
      .filter((name) => !TEXT_STRUCTS.has(name))
      .map((name) => reader.struct(name)),
    enums: declarations.enums.map((name) => reader.enumeration(name)),
    maps: reader.maps(),
  };
}

class LayoutReader {
  private readonly types: BtfType[];

  constructor(types: BtfType[]) {
    this.types = types;
  }

  struct(name: string): Struct {
    const type = this.types.find((candidate) => candidate.kind === 'struct' && candidate.name === name);
    if (type?.kind !== 'struct') throw new Error(`struct ${name} is not in the BTF`);
    const fields = type.members.map((member): Field => {
      const { fieldType, size, cType } = this.field(member.type, `${name}.${member.name}`);
      return {
        name: member.name,
        offset: member.offset,
        size,
        cType,
        type: fieldType,
        padding: /^pad\d*$/.test(member.name),
      };
    });
    return { name, size: type.size, fields };
  }

  enumeration(name: string): Enumeration {
    const type = this.types.find((candidate) => candidate.kind === 'enum' && candidate.name === name);
    if (type?.kind !== 'enum') throw new Error(`enum ${name} is not in the BTF`);
    return { name, values: type.values };
  }

  maps(): MapDefinition[] {
    const section = this.types.find((type) => type.kind === 'datasec' && type.name === '.maps');
    if (section?.kind !== 'datasec') throw new Error('no .maps section');
    return section.vars
      .map((id) => {
        const variable = this.at(id);
        if (variable.kind !== 'var') throw new Error('.maps holds something that is no variable');
        return this.map(variable.name, variable.to);
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  private map(name: string, typeId: number): MapDefinition {
    const { type } = this.strip(typeId);
    if (type.kind !== 'struct') throw new Error(`map ${name} is no struct`);
    const result: MapDefinition = { name, type: 0, maxEntries: 0, flags: 0 };
    for (const member of type.members) {
      if (member.name === 'type') result.type = this.number(member.type);
      else if (member.name === 'max_entries') result.maxEntries = this.number(member.type);
      else if (member.name === 'map_flags') result.flags = this.number(member.type);
      else if (member.name === 'key') result.key = this.element(member.type, `${name} key`);
      else if (member.name === 'value') result.value = this.element(member.type, `${name} value`);
      else if (member.name === 'values') result.inner = this.inner(name, member.type);
      else throw new Error(`map ${name}: unknown attribute ${member.name}`);
    }
    return result;
  }

  /** libbpf writes a number as a pointer to an array of that length. */
  private number(typeId: number): number {
    const array = this.pointee(typeId);
    if (array.kind !== 'array') throw new Error('map attribute is not written by __uint()');
    return array.count;
  }

  private inner(name: string, typeId: number): MapDefinition {
    const array = this.strip(typeId).type;
    if (array.kind !== 'array') throw new Error(`map ${name}: values is not written by __array()`);
    const pointer = this.strip(array.element).type;
    if (pointer.kind !== 'ptr') throw new Error(`map ${name}: values is not written by __array()`);
    return this.map(`${name}_inner`, pointer.to);
  }

  private element(typeId: number, place: string): ElementType {
    const type = this.pointee(typeId);
    if (type.kind === 'struct') return { struct: type.name };
    if (type.kind === 'int' && !type.signed && (type.size === 4 || type.size === 8))
      return { uint: type.size };
    throw new Error(`${place}: neither a struct nor an unsigned number of 4 or 8 bytes`);
  }

  private pointee(typeId: number): BtfType {
    const { type } = this.strip(typeId);
    if (type.kind !== 'ptr') throw new Error('map attribute is no pointer');
    return this.strip(type.to).type;
  }

  private field(typeId: number, place: string): { fieldType: FieldType; size: number; cType: string } {
    const { type, name } = this.strip(typeId);
    if (type.kind === 'struct' && type.name === 'ip_addr') {
      return { fieldType: { kind: 'address' }, size: 16, cType: 'struct ip_addr' };
    }
    if (type.kind === 'struct' && type.name === 'mac_addr') {
      return { fieldType: { kind: 'mac' }, size: 6, cType: 'struct mac_addr' };
    }
    if (type.kind === 'int' && !type.signed && [1, 2, 4, 8].includes(type.size)) {
      const bytes = type.size as 1 | 2 | 4 | 8;
      return { fieldType: { kind: 'uint', bytes, bigEndian: name === 'be16_t' }, size: bytes, cType: name };
    }
    if (type.kind === 'array') {
      const element = this.strip(type.element).type;
      if (element.kind === 'int' && element.size === 1) {
        return {
          fieldType: { kind: 'bytes', length: type.count },
          size: type.count,
          cType: `__u8[${type.count}]`,
        };
      }
    }
    throw new Error(
      `${place}: this C type has no TypeScript form (use unsigned numbers, ip_addr, mac_addr, byte arrays)`,
    );
  }

  private strip(typeId: number): { type: BtfType; name: string } {
    let type = this.at(typeId);
    let name = '';
    while (type.kind === 'typedef' || type.kind === 'qualifier') {
      // The outermost typedef carries the meaning (identity_t), inner ones only the width.
      if (type.kind === 'typedef' && name === '') name = type.name;
      type = this.at(type.to);
    }
    if (name === '' && 'name' in type) name = type.name;
    return { type, name };
  }

  private at(id: number): BtfType {
    const type = this.types[id];
    if (!type) throw new Error(`BTF type ${id} does not exist`);
    return type;
  }
}

/** One line per member, sorted by source order: reviewable, and the input of the hash. */
export function lockText(layout: Layout): string {
  const lines: string[] = [];
  for (const struct of layout.structs) {
    lines.push(`struct ${struct.name} size ${struct.size}`);
    for (const field of struct.fields) {
      lines.push(
        `${struct.name} ${field.name} ${field.cType.replaceAll(' ', '_')} ${field.size} ${field.offset}`,
      );
    }
  }
  for (const enumeration of layout.enums) {
    for (const { name, value } of enumeration.values) lines.push(`enum ${enumeration.name} ${name} ${value}`);
  }
  for (const map of layout.maps) lines.push(`map ${mapLine(map)}`);
  return `${lines.join('\n')}\n`;
}

/** Sizes are configuration, not layout: max_entries is left out. */
function mapLine(map: MapDefinition): string {
  const element = (type: ElementType | undefined): string =>
    type === undefined ? '-' : 'struct' in type ? type.struct : `u${type.uint * 8}`;
  const inner = map.inner ? ` inner (${mapLine(map.inner)})` : '';
  return `${map.name} type ${map.type} flags ${map.flags} key ${element(map.key)} value ${element(map.value)}${inner}`;
}

/** FNV-1a, 32 bit, never 0 (0 stands for "no hash"). */
export function layoutHash(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash === 0 ? 1 : hash;
}
