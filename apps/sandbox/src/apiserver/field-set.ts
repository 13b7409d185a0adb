// SPDX-License-Identifier: Apache-2.0
import { type Dict, isDict, jsonEqual } from './model.ts';
import type { Shape } from './shape.ts';

/** Which fields somebody owns, in the form of `managedFields[].fieldsV1`: `f:` names, `k:` items, `v:` values, `.` itself. */
export type FieldSet = { [key: string]: FieldSet };

const SELF = '.';

/** The key of a list item in a field set. Missing `protocol` keys count as TCP, as the defaults do. */
export function itemKey(item: unknown, keys: readonly string[]): string {
  const dict = isDict(item) ? item : {};
  const values = keys.flatMap((key) => {
    const value = (dict[key] as unknown) ?? (key === 'protocol' ? 'TCP' : undefined);
    return value === undefined ? [] : [[key, value] as const];
  });
  return `k:${JSON.stringify(Object.fromEntries([...values].sort(([a], [b]) => (a < b ? -1 : 1))))}`;
}

/** All fields that `value` sets. */
export function fieldSet(value: unknown, shape: Shape): FieldSet {
  const out: FieldSet = {};
  if (shape.kind === 'fields' && isDict(value)) {
    for (const [key, item] of Object.entries(value)) {
      const inner = shape.at(key);
      out[`f:${key}`] = isLeaf(item, inner) ? {} : { ...selfMark(item, inner), ...fieldSet(item, inner) };
    }
  } else if (shape.kind === 'keyed' && Array.isArray(value)) {
    for (const item of value) out[itemKey(item, shape.keys)] = { [SELF]: {}, ...fieldSet(item, shape.item) };
  } else if (shape.kind === 'set' && Array.isArray(value)) {
    for (const item of value) out[`v:${JSON.stringify(item)}`] = {};
  }
  return out;
}

function isLeaf(value: unknown, shape: Shape): boolean {
  if (shape.kind === 'fields') return !isDict(value) || Object.keys(value).length === 0;
  if (shape.kind === 'keyed' || shape.kind === 'set') return !Array.isArray(value) || value.length === 0;
  return true;
}

/** Maps and lists are themselves owned by whoever brings them into being. */
function selfMark(value: unknown, shape: Shape): FieldSet {
  return shape.kind === 'keyed' || shape.kind === 'set' || isDict(value) ? { [SELF]: {} } : {};
}

const isEmpty = (set: FieldSet): boolean => Object.keys(set).length === 0;

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { ...a };
  for (const [key, value] of Object.entries(b)) out[key] = out[key] ? union(out[key], value) : value;
  return out;
}

/** What `a` has and `b` has not. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const [key, value] of Object.entries(a)) {
    const other = b[key];
    if (!other) out[key] = value;
    else if (!isEmpty(value)) {
      const rest = difference(value, other);
      if (!isEmpty(rest)) out[key] = rest;
    }
  }
  return out;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = {};
  for (const [key, value] of Object.entries(a)) {
    const other = b[key];
    if (!other) continue;
    const inner = intersection(value, other);
    if (!isEmpty(inner) || isEmpty(value) || isEmpty(other)) out[key] = inner;
  }
  return out;
}

export { isEmpty as isEmptySet };

/** Fields whose value in `now` is new or differs from `before`. */
export function changedFields(before: unknown, now: unknown, shape: Shape): FieldSet {
  if (before === undefined) return fieldSet(now, shape);
  const out: FieldSet = {};
  if (shape.kind === 'fields' && isDict(now)) {
    const old = isDict(before) ? before : {};
    for (const [key, item] of Object.entries(now)) {
      if (jsonEqual(old[key], item)) continue;
      const inner = shape.at(key);
      if (isLeaf(item, inner)) out[`f:${key}`] = {};
      else {
        const mark = old[key] === undefined ? selfMark(item, inner) : {};
        const below = changedFields(old[key], item, inner);
        if (!isEmpty(below) || !isEmpty(mark)) out[`f:${key}`] = { ...mark, ...below };
      }
    }
  } else if (shape.kind === 'keyed' && Array.isArray(now)) {
    const old = new Map(
      (Array.isArray(before) ? before : []).map((item) => [itemKey(item, shape.keys), item as unknown]),
    );
    for (const item of now) {
      const key = itemKey(item, shape.keys);
      const known = old.get(key);
      const below = changedFields(known, item, shape.item);
      if (known === undefined) out[key] = { [SELF]: {}, ...below };
      else if (!isEmpty(below)) out[key] = below;
    }
  } else if (shape.kind === 'set' && Array.isArray(now)) {
    const old = new Set((Array.isArray(before) ? before : []).map((item) => JSON.stringify(item)));
    for (const item of now) if (!old.has(JSON.stringify(item))) out[`v:${JSON.stringify(item)}`] = {};
  }
  return out;
}

/** Takes the fields of `set` out of `value`, in place; empty maps and lists that were owned go too. */
export function removeFields(value: unknown, set: FieldSet, shape: Shape): void {
  if (shape.kind === 'fields' && isDict(value)) {
    for (const [key, below] of Object.entries(set)) {
      if (!key.startsWith('f:')) continue;
      const name = key.slice(2);
      if (isEmpty(below)) {
        delete value[name];
        continue;
      }
      removeFields(value[name], below, shape.at(name));
      const left = value[name] as unknown;
      const empty = Array.isArray(left) ? left.length === 0 : isDict(left) && Object.keys(left).length === 0;
      if (empty && SELF in below) delete value[name];
    }
  } else if (shape.kind === 'keyed' && Array.isArray(value)) removeItems(value as unknown[], set, shape);
  else if (shape.kind === 'set' && Array.isArray(value))
    for (let at = value.length - 1; at >= 0; at--)
      if (set[`v:${JSON.stringify(value[at])}`]) value.splice(at, 1);
}

function removeItems(list: unknown[], set: FieldSet, shape: Shape & { kind: 'keyed' }): void {
  for (let at = list.length - 1; at >= 0; at--) {
    const below = set[itemKey(list[at], shape.keys)];
    if (!below) continue;
    if (SELF in below) list.splice(at, 1);
    else removeFields(list[at], below, shape.item);
  }
}

/** Lays the applied configuration over the live value: maps by field, keyed lists by item, the rest replaced. */
export function overlay(live: unknown, applied: unknown, shape: Shape): unknown {
  if (shape.kind === 'fields' && isDict(applied)) {
    const out: Dict = isDict(live) ? { ...live } : {};
    for (const [key, item] of Object.entries(applied)) out[key] = overlay(out[key], item, shape.at(key));
    return out;
  }
  if (shape.kind === 'keyed' && Array.isArray(applied)) {
    const out = Array.isArray(live) ? [...(live as unknown[])] : [];
    for (const item of applied) {
      const key = itemKey(item, shape.keys);
      const at = out.findIndex((known) => itemKey(known, shape.keys) === key);
      if (at < 0) out.push(item);
      else out[at] = overlay(out[at], item, shape.item);
    }
    return out;
  }
  if (shape.kind === 'set' && Array.isArray(applied)) {
    const out = Array.isArray(live) ? [...(live as unknown[])] : [];
    for (const item of applied) if (!out.some((known) => jsonEqual(known, item))) out.push(item);
    return out;
  }
  return applied;
}

/** Paths of a field set as messages show them: `.spec.replicas`. */
export function pathsOf(set: FieldSet, prefix = ''): string[] {
  return Object.entries(set).flatMap(([key, below]) => {
    if (key === SELF) return [];
    const here = key.startsWith('f:')
      ? `${prefix}.${key.slice(2)}`
      : `${prefix}[${key
          .slice(2)
          .replace(/[{}]/g, '')
          .replace(/":/g, '"=')
          .replace(/"(\w+)"=/g, '$1=')}]`;
    const rest = pathsOf(below, here);
    return rest.length > 0 ? rest : [here];
  });
}
