// SPDX-License-Identifier: Apache-2.0
import { apiVersionOf, timestamp, type Dict, type KubeObject, type Resource } from './model.ts';
import {
  changedFields,
  difference,
  fieldSet,
  intersection,
  isEmptySet,
  overlay,
  pathsOf,
  removeFields,
  union,
  type FieldSet,
} from './field-set.ts';
import { shapeOfSchema, shapeOfType, type Shape } from './shape.ts';
import { ApiError } from './status.ts';

interface Write {
  readonly manager: string;
  readonly subresource?: string;
}

/** Fields nobody owns: the server's own. */
const SERVER_FIELDS: FieldSet = {
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': Object.fromEntries(
    [
      'name',
      'namespace',
      'uid',
      'resourceVersion',
      'generation',
      'creationTimestamp',
      'selfLink',
      'managedFields',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
    ].map((name) => [`f:${name}`, {}]),
  ),
};

/** How objects of a resource merge. */
export function shapeOf(resource: Resource): Shape {
  if (resource.schema)
    return shapeOfSchema({ ...resource.schema, type: 'object', 'x-kubernetes-root': true });
  return shapeOfType(resource.typeName ?? '');
}

function ownable(set: FieldSet): FieldSet {
  const out = difference(set, SERVER_FIELDS);
  const meta = out['f:metadata'];
  if (meta && Object.keys(meta).every((key) => key === '.')) delete out['f:metadata'];
  else if (meta) {
    const { '.': _self, ...rest } = meta;
    out['f:metadata'] = rest;
  }
  return out;
}

function sameEntry(entry: Dict, operation: string, write: Write): boolean {
  return (
    entry.manager === write.manager &&
    entry.operation === operation &&
    (entry.subresource ?? '') === (write.subresource ?? '')
  );
}

function entryOf(resource: Resource, operation: 'Apply' | 'Update', write: Write, fields: FieldSet): Dict {
  return {
    manager: write.manager,
    operation,
    apiVersion: apiVersionOf(resource),
    time: timestamp(),
    fieldsType: 'FieldsV1',
    fieldsV1: fields,
    ...(write.subresource ? { subresource: write.subresource } : {}),
  };
}

/** Ownership after an update: what changed belongs to the writer now, what is gone to nobody. */
export function recordUpdate(
  resource: Resource,
  old: KubeObject | null,
  now: KubeObject,
  write: Write,
): Dict[] {
  const shape = shapeOf(resource);
  const given = now.metadata.managedFields ?? [];
  const before = old ? (given.length > 0 || !old.metadata.managedFields ? given : []) : [];
  const changed = ownable(changedFields(old ?? undefined, now, shape));
  const present = old ? ownable(fieldSet(now, shape)) : null;
  const gone = old && present ? difference(ownable(fieldSet(old, shape)), present) : {};
  if (old && isEmptySet(changed) && isEmptySet(gone)) return before;
  const entries: Dict[] = [];
  let mine: FieldSet = changed;
  for (const entry of before) {
    const kept = difference(entry.fieldsV1 as FieldSet, gone);
    if (sameEntry(entry, 'Update', write)) mine = union(kept, mine);
    else {
      const left = difference(kept, leaves(changed));
      if (!isEmptySet(left)) entries.push({ ...entry, fieldsV1: left });
    }
  }
  if (!isEmptySet(mine)) entries.push(entryOf(resource, 'Update', write, mine));
  return entries;
}

/** Without the `.` marks: sharing a map or a list is no change of owner. */
function leaves(set: FieldSet): FieldSet {
  return Object.fromEntries(
    Object.entries(set)
      .filter(([key]) => key !== '.')
      .map(([key, below]) => [key, leaves(below)]),
  );
}

export interface Applied {
  readonly object: Dict;
  readonly managedFields: Dict[];
}

/**
 * Server-side apply: lays `config` over `live`, takes away what this manager no longer sets and nobody else owns.
 * Throws 409 with the conflicting fields unless `force`.
 */
export function applyConfiguration(
  resource: Resource,
  live: KubeObject | null,
  config: Dict,
  write: Write & { readonly force: boolean },
): Applied {
  const shape = shapeOf(resource);
  const wanted = ownable(fieldSet(config, shape));
  const entries = live?.metadata.managedFields ?? [];
  const mine = entries.find((entry) => sameEntry(entry, 'Apply', write));
  const others = entries.filter((entry) => entry !== mine);
  const contested = live
    ? intersection(leaves(wanted), leaves(ownable(changedFields(live, overlay(live, config, shape), shape))))
    : {};
  const conflicts = others.map((entry) => ({
    entry,
    fields: intersection(leaves(entry.fieldsV1 as FieldSet), contested),
  }));
  if (!write.force) refuse(conflicts);
  const object = structuredClone(overlay(live ?? {}, config, shape)) as Dict;
  const kept = others.flatMap((entry, index) => {
    const lost = conflicts[index]!.fields;
    const left = isEmptySet(lost)
      ? (entry.fieldsV1 as FieldSet)
      : difference(entry.fieldsV1 as FieldSet, lost);
    return isEmptySet(left) ? [] : [{ ...entry, fieldsV1: left }];
  });
  if (mine) {
    const dropped = difference(mine.fieldsV1 as FieldSet, wanted);
    const elsewhere = kept.reduce<FieldSet>((all, entry) => union(all, entry.fieldsV1 as FieldSet), {});
    removeFields(object, difference(dropped, elsewhere), shape);
  }
  return { object, managedFields: [...kept, entryOf(resource, 'Apply', write, wanted)] };
}

function refuse(conflicts: readonly { entry: Dict; fields: FieldSet }[]): void {
  const real = conflicts.filter(({ fields }) => !isEmptySet(fields));
  if (real.length === 0) return;
  const causes = real.flatMap(({ entry, fields }) =>
    pathsOf(fields).map((path) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with "${entry.manager}"${entry.operation === 'Update' ? ` using ${entry.apiVersion}` : ''}`,
      field: path,
    })),
  );
  const lines = causes.map((cause) => `${cause.message}: ${cause.field}`);
  const plural = causes.length === 1 ? 'conflict' : 'conflicts';
  const message = `Apply failed with ${causes.length} ${plural}: ${lines.join('\n')}`;
  throw new ApiError(409, 'Conflict', message, { causes });
}
