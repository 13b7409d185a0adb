// SPDX-License-Identifier: Apache-2.0
import { coreTypesA } from './types/core-a.ts';
import { coreTypesM } from './types/core-m.ts';
import { groupTypes } from './types/groups.ts';
import { metaTypes } from './types/meta.ts';

// Notation, one record per type (continuation lines are indented):
//   Type!: [<]name[?][*] number [[]|{}]type [~mergeKey[^]] [=keys|=@|=!] ; ...
// `!` after the type: replaced as a whole by server-side apply. `<`: its fields stand in the parent's JSON.
// `?` optional, `*` a pointer (zero is a value). `[]` list, `{}` map of strings to the type.
// Types: s string, i l integers, b boolean, y bytes (base64), d double, q quantity, t T times, x number or
// string, R any object, F field set; anything else names a record, of the same group unless qualified.
// `~key` strategic merge by key (`~` alone: a set), `^` retain keys. `=a,b` list map keys, `=@` set, `=!` atomic.

/** One field of a built-in type. */
export interface TypeField {
  readonly name: string;
  readonly number: number;
  /** Primitive letter, or the full name of a record such as `core.PodSpec`. */
  readonly type: string;
  readonly primitive: boolean;
  readonly container: 'none' | 'list' | 'map';
  readonly optional: boolean;
  readonly pointer: boolean;
  /** The record's fields are the parent's in JSON. */
  readonly inline: boolean;
  /** Strategic merge: key of the list's items, '' for a set of primitives, undefined to replace. */
  readonly mergeKey?: string;
  readonly retainKeys: boolean;
  /** Server-side apply. */
  readonly listKeys: readonly string[];
  readonly set: boolean;
  readonly atomic: boolean;
}

export interface TypeRecord {
  readonly name: string;
  readonly atomic: boolean;
  readonly fields: readonly TypeField[];
  /** Fields by JSON name, inlined ones included. */
  readonly byName: ReadonlyMap<string, TypeField>;
  readonly byNumber: ReadonlyMap<number, TypeField>;
}

const PRIMITIVES = 'silbydqtTxRF';
const sources: Record<string, string> = { core: coreTypesA + coreTypesM, meta: metaTypes, ...groupTypes };
const texts = new Map<string, { text: string; atomic: boolean }>();
const records = new Map<string, TypeRecord>();

function index(): void {
  for (const [group, source] of Object.entries(sources)) {
    for (const text of source
      .replace(/\n {2}/g, ' ')
      .trim()
      .split('\n')) {
      const head = /^(\w+)(!?): /.exec(text);
      if (head)
        texts.set(`${group}.${head[1]}`, { text: text.slice(head[0].length), atomic: head[2] === '!' });
    }
  }
}

function parseField(text: string, group: string): TypeField {
  const [label, number, kind, ...rules] = text.trim().split(/\s+/);
  const name = /^<?([^?*]+)/.exec(label!)![1]!;
  const container = kind!.startsWith('[]') ? 'list' : kind!.startsWith('{}') ? 'map' : 'none';
  const bare = container === 'none' ? kind! : kind!.slice(2);
  const primitive = bare.length === 1 && PRIMITIVES.includes(bare);
  const merge = rules.find((rule) => rule.startsWith('~'));
  const apply = rules.find((rule) => rule.startsWith('='))?.slice(1);
  const mergeKey = merge?.replace(/[~^]/g, '');
  return {
    name,
    number: Number(number),
    type: primitive || bare.includes('.') ? bare : `${group}.${bare}`,
    primitive,
    container,
    optional: label!.includes('?'),
    pointer: label!.includes('*'),
    inline: label!.startsWith('<'),
    ...(merge !== undefined && merge !== '~^' ? { mergeKey: mergeKey! } : {}),
    retainKeys: merge?.includes('^') ?? false,
    listKeys: apply && !'@!'.includes(apply) ? apply.split(',') : [],
    set: apply === '@',
    atomic: apply === '!',
  };
}

/** The record called `name` (`core.PodSpec`), parsed when first asked for. Undefined when there is none. */
export function typeRecord(name: string): TypeRecord | undefined {
  const known = records.get(name);
  if (known) return known;
  if (texts.size === 0) index();
  const source = texts.get(name);
  if (!source) return undefined;
  const group = name.slice(0, name.indexOf('.'));
  const fields = source.text.split(';').map((text) => parseField(text, group));
  const byName = new Map<string, TypeField>();
  const byNumber = new Map<number, TypeField>();
  const record: TypeRecord = { name, atomic: source.atomic, fields, byName, byNumber };
  records.set(name, record);
  for (const field of fields) {
    byNumber.set(field.number, field);
    if (!field.inline) byName.set(field.name, field);
    else
      for (const [inner, innerField] of typeRecord(field.type)?.byName ?? []) byName.set(inner, innerField);
  }
  return record;
}
