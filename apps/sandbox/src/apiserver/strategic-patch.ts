// SPDX-License-Identifier: Apache-2.0
import { type Dict, isDict, jsonEqual } from './model.ts';
import { mergePatch } from './json-patch.ts';
import { badRequest } from './status.ts';
import { typeRecord, type TypeField, type TypeRecord } from './type-table.ts';

const DELETE_LIST = '$deleteFromPrimitiveList/';
const ORDER = '$setElementOrder/';
const RETAIN = '$retainKeys';

/** Applies a strategic merge patch to an object of a built-in type; the result shares nothing with `patch`. */
export function strategicPatch(target: Dict, patch: Dict, typeName: string): Dict {
  return mergeRecord(target, structuredClone(patch), typeRecord(typeName)) ?? {};
}

/** Undefined when the patch removes the whole value. */
function mergeRecord(
  target: Dict | undefined,
  patch: Dict,
  record: TypeRecord | undefined,
): Dict | undefined {
  const directive = patch.$patch as unknown;
  if (directive === 'delete') return undefined;
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`unknown $patch directive ${JSON.stringify(directive)}; want delete, replace or merge`);
  const retained = patch[RETAIN] as unknown;
  const out: Dict = { ...target };
  if (Array.isArray(retained))
    for (const key of Object.keys(out)) if (!retained.includes(key)) delete out[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === RETAIN) continue;
    if (key.startsWith(DELETE_LIST)) removeValues(out, key.slice(DELETE_LIST.length), value);
    else if (!key.startsWith(ORDER)) mergeField(out, key, value, record?.byName.get(key));
  }
  for (const [key, value] of Object.entries(patch))
    if (key.startsWith(ORDER)) reorder(out, key.slice(ORDER.length), value, record);
  return out;
}

function mergeField(out: Dict, key: string, value: unknown, field: TypeField | undefined): void {
  if (value === null) {
    delete out[key];
    return;
  }
  const old = out[key] as unknown;
  const record = field && !field.primitive ? typeRecord(field.type) : undefined;
  if (Array.isArray(value)) {
    out[key] = mergeList(Array.isArray(old) ? (old as unknown[]) : [], value as unknown[], field, record);
    return;
  }
  if (!isDict(value)) out[key] = value;
  else if (!field || field.container === 'map') {
    if (value.$patch === 'replace') out[key] = withoutDirectives(value);
    else if (value.$patch === 'delete') delete out[key];
    else out[key] = mergePatch(old, value);
  } else {
    const merged = mergeRecord(isDict(old) ? old : undefined, value, record);
    if (merged === undefined) delete out[key];
    else out[key] = merged;
  }
}

function mergeList(
  old: readonly unknown[],
  patch: readonly unknown[],
  field: TypeField | undefined,
  record: TypeRecord | undefined,
): unknown[] {
  const isReplace = (item: unknown): boolean =>
    isDict(item) && item.$patch === 'replace' && Object.keys(item).length === 1;
  const items = patch.filter((item) => !isReplace(item));
  if (field?.mergeKey === undefined || items.length !== patch.length) return items.map(plain);
  if (field.mergeKey === '')
    return [...old, ...items.filter((item) => !old.some((known) => jsonEqual(known, item)))];
  const key = field.mergeKey;
  const out = [...old];
  for (const item of items) {
    if (!isDict(item) || item[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    const at = out.findIndex((known) => isDict(known) && known[key] === item[key]);
    if (at < 0) {
      const fresh = mergeRecord(undefined, item, record);
      if (fresh) out.push(fresh);
      continue;
    }
    const merged = mergeRecord(out[at] as Dict, item, record);
    if (merged) out[at] = merged;
    else out.splice(at, 1);
  }
  return out;
}

function plain(item: unknown): unknown {
  return isDict(item) ? withoutDirectives(item) : item;
}

function withoutDirectives(value: Dict): Dict {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== '$patch' && key !== RETAIN));
}

function removeValues(out: Dict, key: string, values: unknown): void {
  if (!Array.isArray(out[key]) || !Array.isArray(values)) return;
  out[key] = (out[key] as unknown[]).filter((item) => !values.some((gone) => jsonEqual(gone, item)));
}

/** Brings the list into the order the client asks for; items it does not name keep their place after the rest. */
function reorder(out: Dict, key: string, order: unknown, record: TypeRecord | undefined): void {
  const list = out[key] as unknown;
  if (!Array.isArray(list) || !Array.isArray(order)) return;
  const mergeKey = record?.byName.get(key)?.mergeKey;
  const wanted = order as unknown[];
  const rank = (item: unknown): number => {
    const at = wanted.findIndex((entry) =>
      mergeKey && isDict(entry) && isDict(item) ? entry[mergeKey] === item[mergeKey] : jsonEqual(entry, item),
    );
    return at < 0 ? wanted.length : at;
  };
  out[key] = list
    .map((item, index) => ({ item: item as unknown, index, rank: rank(item) }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ item }) => item);
}
