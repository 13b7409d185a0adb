// SPDX-License-Identifier: Apache-2.0
import type { Column, Dict, KubeObject, Resource } from './model.ts';
import { viewOf } from './wire.ts';

export function columnDefinitions(columns: readonly Column[]): Dict[] {
  return columns.map(({ name, type, format, priority, description }) => ({
    name,
    type,
    format: format ?? '',
    description: description ?? '',
    priority,
  }));
}

/** What goes with each row: the object's metadata, the whole object, or nothing. */
export type IncludeObject = 'Metadata' | 'Object' | 'None';

export function tableRow(object: KubeObject, resource: Resource, include: IncludeObject): Dict {
  const cells = resource.columns.map((column) => {
    const value = column.cell(object);
    return value === undefined ? null : value;
  });
  if (include === 'None') return { cells };
  const partial = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
  return { cells, object: include === 'Object' ? viewOf(object, resource) : partial };
}

/** A `Table` of `objects`; `withColumns` false in all but the first event of a watch. */
export function table(
  objects: readonly KubeObject[],
  resource: Resource,
  include: IncludeObject,
  metadata: Dict,
  withColumns = true,
): Dict {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: withColumns ? columnDefinitions(resource.columns) : null,
    rows: objects.map((object) => tableRow(object, resource, include)),
  };
}
