// SPDX-License-Identifier: Apache-2.0
import { type Dict, isDict } from './model.ts';
import { typeRecord, type TypeField } from './type-table.ts';

/** How values of one place merge, whether it comes from the table of built-in types or from a custom schema. */
export type Shape =
  | { readonly kind: 'scalar' }
  /** Replaced as a whole by whoever sets it. */
  | { readonly kind: 'atomic' }
  | { readonly kind: 'fields'; readonly at: (name: string) => Shape }
  | {
      readonly kind: 'keyed';
      readonly keys: readonly string[];
      readonly item: Shape;
      readonly mergeKey?: string;
    }
  | { readonly kind: 'set' };

const SCALAR: Shape = { kind: 'scalar' };
const ATOMIC: Shape = { kind: 'atomic' };
/** No schema: objects merge by field, lists are replaced. */
const DEDUCED: Shape = { kind: 'fields', at: () => DEDUCED };
const cache = new Map<string, Shape>();

function recordShape(name: string): Shape {
  const known = cache.get(name);
  if (known) return known;
  const record = typeRecord(name);
  if (!record) return DEDUCED;
  if (record.atomic) return ATOMIC;
  const shape: Shape = {
    kind: 'fields',
    at: (field) => {
      const found = record.byName.get(field);
      return found ? fieldShape(found) : DEDUCED;
    },
  };
  cache.set(name, shape);
  return shape;
}

function fieldShape(field: TypeField): Shape {
  if (field.atomic) return ATOMIC;
  const item = field.primitive ? ('RF'.includes(field.type) ? ATOMIC : SCALAR) : recordShape(field.type);
  if (field.container === 'none') return item;
  if (field.container === 'map') return { kind: 'fields', at: () => item };
  if (field.set) return { kind: 'set' };
  if (field.listKeys.length === 0) return ATOMIC;
  return { kind: 'keyed', keys: field.listKeys, item };
}

/** The merge shape of a built-in type. */
export function shapeOfType(name: string): Shape {
  return recordShape(name);
}

/** The merge shape of a structural schema. */
export function shapeOfSchema(schema: Dict | undefined): Shape {
  if (!schema) return DEDUCED;
  if (schema.type === 'object' || schema.properties || schema.additionalProperties) {
    if (schema['x-kubernetes-map-type'] === 'atomic') return ATOMIC;
    const extra = isDict(schema.additionalProperties) ? schema.additionalProperties : undefined;
    return {
      kind: 'fields',
      at: (name) => {
        if (name === 'metadata' && schema['x-kubernetes-root']) return recordShape('meta.ObjectMeta');
        return shapeOfSchema((schema.properties?.[name] as Dict | undefined) ?? extra);
      },
    };
  }
  if (schema.type === 'array') {
    const mode = schema['x-kubernetes-list-type'] as string | undefined;
    if (mode === 'set') return { kind: 'set' };
    if (mode !== 'map') return ATOMIC;
    const keys = (schema['x-kubernetes-list-map-keys'] ?? []) as string[];
    return { kind: 'keyed', keys, item: shapeOfSchema(schema.items as Dict) };
  }
  return schema.type ? SCALAR : DEDUCED;
}
