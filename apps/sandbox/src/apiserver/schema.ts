// SPDX-License-Identifier: Apache-2.0
import { type Dict, type FieldError, isDict, jsonEqual, type KubeObject } from './model.ts';
import { field } from './status.ts';

// Structural schemas of custom resources: pruning, defaulting and validation in one walk.

/** Prunes `object` in place (paths of what went go to `unknown`), fills defaults, returns what is wrong. */
export function applySchema(schema: Dict, object: KubeObject, unknown: string[]): FieldError[] {
  const errors: FieldError[] = [];
  const properties = (schema.properties ?? {}) as Dict;
  const keep = schema['x-kubernetes-preserve-unknown-fields'] === true;
  for (const [key, value] of Object.entries(object)) {
    if (key === 'apiVersion' || key === 'kind' || key === 'metadata') continue;
    if (key in properties) {
      if (value === null) delete object[key];
      else visit(properties[key] as Dict, value, key, unknown, errors);
    } else if (!keep) {
      unknown.push(key);
      delete object[key];
    }
  }
  fillDefaults(schema, object);
  for (const key of (schema.required ?? []) as string[])
    if (!(key in object) && key !== 'status') errors.push(field.required(key));
  for (const key of Object.keys(properties))
    if (isDict(object[key])) combine(properties[key] as Dict, object[key], key, errors);
  combine(schema, object, '', errors);
  return errors;
}

function fillDefaults(schema: Dict, object: Dict): void {
  for (const [key, property] of Object.entries((schema.properties ?? {}) as Dict)) {
    const value = (property as Dict).default as unknown;
    if (value === undefined || key in object) continue;
    object[key] = structuredClone(value);
    if (isDict(object[key])) fillDefaults(property as Dict, object[key] as Dict);
  }
}

function visit(schema: Dict, value: unknown, path: string, unknown: string[], errors: FieldError[]): void {
  if (value === null && schema.nullable) return;
  const mismatch = typeError(schema, value);
  if (mismatch) {
    errors.push(
      field.wrongType(
        path,
        typeof value === 'object' ? typeName(value) : value,
        `${path} in body must be of type ${mismatch}: ${JSON.stringify(typeName(value))}`,
      ),
    );
    return;
  }
  if (isDict(value)) visitObject(schema, value, path, unknown, errors);
  else if (Array.isArray(value)) visitList(schema, value as unknown[], path, unknown, errors);
  checkValue(schema, value, path, errors);
  if (path.includes('.') || !isDict(value)) combine(schema, value, path, errors);
}

function visitObject(schema: Dict, value: Dict, path: string, unknown: string[], errors: FieldError[]): void {
  const properties = (schema.properties ?? {}) as Dict;
  const extra = schema.additionalProperties as unknown;
  const keep = schema['x-kubernetes-preserve-unknown-fields'] === true || extra === true;
  if (schema['x-kubernetes-embedded-resource']) {
    // apiVersion, kind and metadata belong to every embedded object.
  }
  for (const [key, item] of Object.entries(value)) {
    const here = `${path}.${key}`;
    if (key in properties) {
      const property = properties[key] as Dict;
      if (item === null && !property.nullable) {
        delete value[key];
      } else visit(property, item, here, unknown, errors);
    } else if (isDict(extra)) visit(extra, item, here, unknown, errors);
    else if (!keep && !(schema['x-kubernetes-embedded-resource'] && EMBEDDED.includes(key))) {
      unknown.push(here);
      delete value[key];
    }
  }
  fillDefaults(schema, value);
  for (const key of (schema.required ?? []) as string[])
    if (!(key in value)) errors.push(field.required(`${path}.${key}`));
}

const EMBEDDED = ['apiVersion', 'kind', 'metadata'];

function visitList(
  schema: Dict,
  list: unknown[],
  path: string,
  unknown: string[],
  errors: FieldError[],
): void {
  const items = schema.items as Dict | undefined;
  if (items)
    for (const [index, item] of list.entries()) visit(items, item, `${path}[${index}]`, unknown, errors);
  const keys = schema['x-kubernetes-list-map-keys'] as string[] | undefined;
  const isMap = schema['x-kubernetes-list-type'] === 'map' && keys;
  if (!isMap && schema['x-kubernetes-list-type'] !== 'set') return;
  const seen = new Set<string>();
  for (const [index, item] of list.entries()) {
    const key =
      isMap && isDict(item) ? Object.fromEntries(keys.map((name) => [name, item[name] as unknown])) : item;
    const text = JSON.stringify(key);
    if (seen.has(text)) errors.push(field.duplicate(`${path}[${index}]`, key));
    seen.add(text);
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** The expected type where the value does not have it. */
function typeError(schema: Dict, value: unknown): string | null {
  const actual = typeName(value);
  if (schema['x-kubernetes-int-or-string'])
    return actual === 'integer' || actual === 'string' ? null : 'integer,string';
  const wanted = schema.type as string | undefined;
  if (!wanted || wanted === actual || (wanted === 'number' && actual === 'integer')) return null;
  return wanted;
}

function checkValue(schema: Dict, value: unknown, path: string, errors: FieldError[]): void {
  const allowed = schema.enum as unknown[] | undefined;
  if (allowed && !allowed.some((item) => jsonEqual(item, value)))
    errors.push(field.unsupported(path, value, allowed));
  if (typeof value === 'string') checkText(schema, value, path, errors);
  else if (typeof value === 'number') checkNumber(schema, value, path, errors);
  else if (Array.isArray(value)) {
    if (schema.minItems !== undefined && value.length < schema.minItems)
      errors.push(
        field.invalid(path, value.length, `${path} in body should have at least ${schema.minItems} items`),
      );
    if (schema.maxItems !== undefined && value.length > schema.maxItems)
      errors.push(field.invalid(path, value.length, `must have at most ${schema.maxItems} items`));
  } else if (isDict(value)) {
    const size = Object.keys(value).length;
    if (schema.minProperties !== undefined && size < schema.minProperties)
      errors.push(
        field.invalid(path, size, `${path} in body should have at least ${schema.minProperties} properties`),
      );
    if (schema.maxProperties !== undefined && size > schema.maxProperties)
      errors.push(
        field.invalid(path, size, `${path} in body must have at most ${schema.maxProperties} properties`),
      );
  }
}

function checkText(schema: Dict, value: string, path: string, errors: FieldError[]): void {
  if (schema.minLength !== undefined && value.length < schema.minLength)
    errors.push(
      field.invalid(path, value, `${path} in body should be at least ${schema.minLength} chars long`),
    );
  if (schema.maxLength !== undefined && value.length > schema.maxLength)
    errors.push(field.tooLong(path, schema.maxLength as number));
  if (schema.pattern !== undefined && !pattern(schema.pattern as string).test(value))
    errors.push(field.invalid(path, value, `${path} in body should match '${schema.pattern}'`));
  const format = schema.format as string | undefined;
  const check = format ? FORMATS[format] : undefined;
  if (check && !check(value))
    errors.push(
      field.invalid(path, value, `${path} in body must be of type ${format}: ${JSON.stringify(value)}`),
    );
}

function checkNumber(schema: Dict, value: number, path: string, errors: FieldError[]): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema as Record<
    string,
    number
  >;
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum))
    errors.push(
      field.invalid(
        path,
        value,
        `${path} in body should be greater than ${exclusiveMinimum ? '' : 'or equal to '}${minimum}`,
      ),
    );
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum))
    errors.push(
      field.invalid(
        path,
        value,
        `${path} in body should be less than ${exclusiveMaximum ? '' : 'or equal to '}${maximum}`,
      ),
    );
  if (multipleOf !== undefined && value % multipleOf !== 0)
    errors.push(field.invalid(path, value, `${path} in body should be a multiple of ${multipleOf}`));
}

const FORMATS: Readonly<Record<string, (value: string) => boolean>> = {
  'date-time': (value) => !Number.isNaN(Date.parse(value)),
  uuid: (value) => /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(value),
  ipv4: (value) =>
    /^(\d{1,3}\.){3}\d{1,3}$/.test(value) && value.split('.').every((part) => Number(part) < 256),
  ipv6: (value) => value.includes(':') && /^[0-9a-f:.]+$/i.test(value),
};

const patterns = new Map<string, RegExp>();

/** Go's and JavaScript's regular expressions agree on what schemas use, but for a few escapes. */
function pattern(text: string): RegExp {
  let found = patterns.get(text);
  if (!found) {
    try {
      found = new RegExp(
        text
          .replace(/\\A/g, '^')
          .replace(/\\z/g, '$')
          .replace(/\(\?i\)/g, ''),
        text.includes('(?i)') ? 'i' : '',
      );
    } catch {
      found = /(?:)/;
    }
    patterns.set(text, found);
  }
  return found;
}

/** Whether `value` satisfies the value checks of `schema` and of what is below it. */
function satisfies(schema: Dict, value: unknown): boolean {
  const errors: FieldError[] = [];
  if (typeError(schema, value)) return false;
  checkValue(schema, value, 'x', errors);
  if (isDict(value)) {
    for (const key of (schema.required ?? []) as string[]) if (!(key in value)) return false;
    for (const [key, item] of Object.entries((schema.properties ?? {}) as Dict))
      if (key in value && !satisfies(item as Dict, value[key])) return false;
  } else if (
    Array.isArray(value) &&
    isDict(schema.items) &&
    !value.every((item) => satisfies(schema.items as Dict, item))
  )
    return false;
  combine(schema, value, 'x', errors);
  return errors.length === 0;
}

function combine(schema: Dict, value: unknown, path: string, errors: FieldError[]): void {
  const at = path || '<nil>';
  const { allOf, anyOf, oneOf, not } = schema as {
    allOf?: Dict[];
    anyOf?: Dict[];
    oneOf?: Dict[];
    not?: Dict;
  };
  if (allOf && !allOf.every((item) => satisfies(item, value)))
    errors.push(field.invalid(at, short(value), `${path} in body must validate all the schemas (allOf)`));
  if (anyOf && !anyOf.some((item) => satisfies(item, value)))
    errors.push(field.invalid(at, short(value), `${path} in body must validate at least one schema (anyOf)`));
  if (oneOf) {
    const valid = oneOf.filter((item) => satisfies(item, value)).length;
    const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`;
    if (valid !== 1)
      errors.push(
        field.invalid(
          at,
          short(value),
          `${path} in body must validate one and only one schema (oneOf). ${found}`,
        ),
      );
  }
  if (not && satisfies(not, value))
    errors.push(field.invalid(at, short(value), `${path} in body must not validate the schema (not)`));
}

const short = (value: unknown): unknown => (typeof value === 'object' ? typeName(value) : value);
