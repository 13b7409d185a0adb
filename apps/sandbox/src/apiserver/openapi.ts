// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { apiVersionOf, isDict, type Dict, type Resource } from './model.ts';
import type { Registry } from './registry.ts';
import { typeRecord, type TypeField } from './type-table.ts';

const PRIMITIVES: Readonly<Record<string, Dict>> = {
  s: { type: 'string' },
  i: { type: 'integer', format: 'int32' },
  l: { type: 'integer', format: 'int64' },
  b: { type: 'boolean' },
  y: { type: 'string', format: 'byte' },
  d: { type: 'number', format: 'double' },
  q: { oneOf: [{ type: 'string' }, { type: 'number' }] },
  t: { type: 'string', format: 'date-time' },
  T: { type: 'string', format: 'date-time' },
  x: { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' },
  R: { type: 'object' },
  F: { type: 'object' },
};

/** `core.PodSpec` as OpenAPI documents name it. */
function schemaName(type: string): string {
  const [group, name] = type.split('.');
  return group === 'meta' ? `io.k8s.apimachinery.pkg.apis.meta.v1.${name}` : `io.k8s.api.${group}.v1.${name}`;
}

function fieldSchema(field: TypeField, prefix: string, pending: string[]): Dict {
  if (!field.primitive) pending.push(field.type);
  const one: Dict = field.primitive
    ? { ...PRIMITIVES[field.type] }
    : { $ref: `${prefix}${schemaName(field.type)}` };
  if (field.container === 'map') return { type: 'object', additionalProperties: one };
  if (field.container === 'none')
    return field.retainKeys ? { allOf: [one], 'x-kubernetes-patch-strategy': 'retainKeys' } : one;
  const schema: Dict = { type: 'array', items: one };
  if (field.mergeKey !== undefined) {
    schema['x-kubernetes-patch-strategy'] = field.retainKeys ? 'merge,retainKeys' : 'merge';
    if (field.mergeKey) schema['x-kubernetes-patch-merge-key'] = field.mergeKey;
  }
  if (field.listKeys.length > 0) {
    schema['x-kubernetes-list-type'] = 'map';
    schema['x-kubernetes-list-map-keys'] = field.listKeys;
  } else schema['x-kubernetes-list-type'] = field.set ? 'set' : 'atomic';
  return schema;
}

/** Adds the schema of `type` and of all it refers to. */
function addType(type: string, prefix: string, schemas: Dict): void {
  const pending = [type];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const record = typeRecord(next);
    if (!record || schemas[schemaName(next)]) continue;
    const properties: Dict = {};
    for (const [name, field] of record.byName) properties[name] = fieldSchema(field, prefix, pending);
    const required = record.fields.filter(
      (field) => !field.optional && !field.pointer && !field.inline && field.primitive,
    );
    schemas[schemaName(next)] = {
      type: 'object',
      properties,
      ...(required.length > 0 && !next.startsWith('meta.')
        ? { required: required.map((field) => field.name) }
        : {}),
    };
  }
}

function customName(resource: Resource): string {
  return `${resource.group.split('.').reverse().join('.')}.${resource.version}.${resource.kind}`;
}

function addResource(resource: Resource, prefix: string, schemas: Dict): void {
  const { group, version, kind } = resource;
  const head: Dict = { apiVersion: { type: 'string' }, kind: { type: 'string' } };
  let name = customName(resource);
  if (resource.typeName && typeRecord(resource.typeName)) {
    name = schemaName(resource.typeName);
    addType(resource.typeName, prefix, schemas);
    schemas[name].properties = { ...head, ...(schemas[name].properties as Dict) };
  } else {
    addType('meta.ObjectMeta', prefix, schemas);
    const metadata = { $ref: `${prefix}${schemaName('meta.ObjectMeta')}` };
    schemas[name] = { type: 'object', ...resource.schema };
    schemas[name].properties = { ...head, ...(resource.schema?.properties as Dict), metadata };
  }
  schemas[name]['x-kubernetes-group-version-kind'] = [{ group, version, kind }];
}

function paths(resource: Resource): Dict {
  const { group, version, kind } = resource;
  const root = group ? `/apis/${group}/${version}` : `/api/${version}`;
  const collection = `${root}${resource.namespaced ? '/namespaces/{namespace}' : ''}/${resource.plural}`;
  const query = (name: string): Dict => ({
    name,
    in: 'query',
    schema: { type: 'string', uniqueItems: true },
  });
  const verb = (action: string): Dict => ({
    parameters: [query('dryRun'), query('fieldManager'), query('fieldValidation')],
    responses: { 200: { description: 'OK' } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': { group, version, kind },
  });
  if (resource.transient) return { [collection]: { post: verb('post') } };
  return {
    [collection]: { get: verb('list'), post: verb('post') },
    [`${collection}/{name}`]: {
      get: verb('get'),
      put: verb('put'),
      patch: verb('patch'),
      delete: verb('delete'),
    },
  };
}

/** Documents of `/openapi/v3`, made when first asked for and dropped when the resources change. */
export class OpenApi {
  private readonly registry: Registry;
  private readonly cache = new Map<string, { text: string; hash: string }>();
  private generation = -1;

  constructor(registry: Registry) {
    this.registry = registry;
  }

  private fresh(): void {
    if (this.generation === this.registry.generation) return;
    this.cache.clear();
    this.generation = this.registry.generation;
  }

  /** `/openapi/v3`: where each group version's document is. The hash is cheap: it changes with the resources. */
  index(): Dict {
    const entries: Dict = {};
    for (const [group, versions] of this.registry.groups())
      for (const version of versions) {
        const path = group ? `apis/${group}/${version}` : `api/${version}`;
        const kinds = this.registry
          .inVersion(group, version)
          .map((resource) => [resource.plural, resource.schema]);
        const hash = createHash('sha256')
          .update(JSON.stringify(kinds))
          .digest('hex')
          .slice(0, 32)
          .toUpperCase();
        entries[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
    return { paths: entries };
  }

  /** The document of one group version as JSON text, or null when it is not served. */
  document(group: string, version: string): string | null {
    this.fresh();
    const key = apiVersionOf({ group, version });
    const known = this.cache.get(key);
    if (known) return known.text;
    const resources = this.registry.inVersion(group, version);
    if (resources.length === 0) return null;
    const schemas: Dict = {};
    const all: Dict = {};
    for (const resource of resources) {
      addResource(resource, '#/components/schemas/', schemas);
      Object.assign(all, paths(resource));
    }
    const text = JSON.stringify({ openapi: '3.0.0', info: INFO, paths: all, components: { schemas } });
    this.cache.set(key, { text, hash: '' });
    return text;
  }

  /** `/openapi/v2`, all groups in one. */
  swagger(): string {
    this.fresh();
    const known = this.cache.get('v2');
    if (known) return known.text;
    const definitions: Dict = {};
    const all: Dict = {};
    for (const resource of this.registry.all()) {
      addResource(resource, '#/definitions/', definitions);
      Object.assign(all, paths(resource));
    }
    const text = JSON.stringify({
      swagger: '2.0',
      info: INFO,
      paths: all,
      definitions: withoutUnions(definitions),
    });
    this.cache.set('v2', { text, hash: '' });
    return text;
  }
}

const INFO = { title: 'Kubernetes', version: 'v1.32.4' };

/** OpenAPI v2 knows no oneOf, anyOf, allOf and not. */
function withoutUnions(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUnions);
  if (!isDict(value)) return value;
  if (value.format === 'int-or-string') return { type: 'string', format: 'int-or-string' };
  const kept = Object.entries(value).filter(
    ([key]) => !['oneOf', 'anyOf', 'allOf', 'not', 'nullable'].includes(key),
  );
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutUnions(item)]));
}

/** What kubectl asks for when it meets a kind that the version 3 documents do not have. */
export const SWAGGER_PROTOBUF = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';

/**
 * A version 2 document without definitions, as protobuf: kubectl then skips its own check of the object and goes on to
 * the error that helps ("no matches for kind"). Fields: 1 swagger, 2 info (1 title, 2 version).
 */
export function emptySwagger(): Buffer {
  const field = (number: number, value: Buffer): Buffer =>
    Buffer.concat([Buffer.of((number << 3) | 2, value.length), value]);
  const text = (value: string): Buffer => Buffer.from(value, 'utf8');
  const info = Buffer.concat([field(1, text(INFO.title)), field(2, text(INFO.version))]);
  return Buffer.concat([field(1, text('2.0')), field(2, info)]);
}
