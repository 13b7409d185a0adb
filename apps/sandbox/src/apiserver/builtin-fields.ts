// SPDX-License-Identifier: Apache-2.0
import { type Dict, isDict } from './model.ts';
import { typeRecord, type TypeField } from './type-table.ts';

/**
 * Walks an object of a built-in type: removes unknown fields (their paths go to `unknown`), removes nulls, and
 * returns a sentence for each value of the wrong type.
 */
export function checkBuiltinFields(typeName: string, object: Dict, unknown: string[]): string[] {
  const wrong: string[] = [];
  walk(typeName, object, '', unknown, wrong);
  return wrong;
}

function walk(typeName: string, object: Dict, path: string, unknown: string[], wrong: string[]): void {
  const record = typeRecord(typeName);
  if (!record) return;
  for (const [key, value] of Object.entries(object)) {
    if (path === '' && (key === 'apiVersion' || key === 'kind')) continue;
    const here = path === '' ? key : `${path}.${key}`;
    const field = record.byName.get(key);
    if (!field) {
      unknown.push(here);
      delete object[key];
    } else if (value === null) delete object[key];
    else checkField(field, value, here, unknown, wrong);
  }
}

function checkField(
  field: TypeField,
  value: unknown,
  path: string,
  unknown: string[],
  wrong: string[],
): void {
  if (field.container === 'list') {
    if (!Array.isArray(value)) return void wrong.push(`${path} must be a list, got ${describe(value)}`);
    for (const [index, item] of value.entries()) checkOne(field, item, `${path}[${index}]`, unknown, wrong);
  } else if (field.container === 'map') {
    if (!isDict(value)) return void wrong.push(`${path} must be a map, got ${describe(value)}`);
    for (const [key, item] of Object.entries(value)) checkOne(field, item, `${path}.${key}`, unknown, wrong);
  } else checkOne(field, value, path, unknown, wrong);
}

function checkOne(field: TypeField, value: unknown, path: string, unknown: string[], wrong: string[]): void {
  if (!field.primitive) {
    if (isDict(value)) walk(field.type, value, path, unknown, wrong);
    else if (!field.type.endsWith('.ExtraValue'))
      wrong.push(`${path} must be an object, got ${describe(value)}`);
    return;
  }
  const expected = EXPECTED[field.type];
  if (expected && !expected.accepts(value))
    wrong.push(`${path} must be ${expected.name}, got ${describe(value)}`);
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isNumberOrText = (value: unknown): boolean => isText(value) || Number.isInteger(value);
const EXPECTED: Readonly<Record<string, { name: string; accepts: (value: unknown) => boolean }>> = {
  s: { name: 'a string', accepts: isText },
  i: { name: 'a whole number', accepts: Number.isInteger },
  l: { name: 'a whole number', accepts: Number.isInteger },
  b: { name: 'true or false', accepts: (value) => typeof value === 'boolean' },
  y: {
    name: 'base64 text',
    accepts: (value) => isText(value) && /^[A-Za-z0-9+/\s]*=*\s*$/.test(value as string),
  },
  d: { name: 'a number', accepts: (value) => typeof value === 'number' },
  q: {
    name: 'a quantity such as 100m or 1Gi',
    accepts: (value) => typeof value === 'number' || isQuantity(value),
  },
  t: {
    name: 'a time (RFC 3339)',
    accepts: (value) => isText(value) && !Number.isNaN(Date.parse(value as string)),
  },
  T: {
    name: 'a time (RFC 3339)',
    accepts: (value) => isText(value) && !Number.isNaN(Date.parse(value as string)),
  },
  x: { name: 'a whole number or a string', accepts: isNumberOrText },
};

function isQuantity(value: unknown): boolean {
  return (
    isText(value) && /^[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/.test(value as string)
  );
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
