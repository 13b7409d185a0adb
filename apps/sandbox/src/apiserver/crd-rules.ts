// SPDX-License-Identifier: Apache-2.0
import type { Dict, FieldError, KindRules, KubeObject } from './model.ts';
import { field } from './status.ts';

const TYPES = ['array', 'boolean', 'integer', 'number', 'object', 'string'];

/** What makes a schema structural: every place has a type, as far as this server relies on it. */
function checkSchema(schema: Dict | undefined, path: string): FieldError[] {
  if (!schema) return [];
  const errors: FieldError[] = [];
  const free =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (!schema.type && !free)
    errors.push(field.required(`${path}.type`, 'must not be empty for specified object fields'));
  if (schema.type && !TYPES.includes(schema.type as string))
    errors.push(field.unsupported(`${path}.type`, schema.type, TYPES));
  if (schema.type === 'array' && !schema.items)
    errors.push(field.required(`${path}.items`, 'must be specified'));
  for (const [name, inner] of Object.entries((schema.properties ?? {}) as Dict))
    errors.push(...checkSchema(inner as Dict, `${path}.properties[${name}]`));
  if (typeof schema.items === 'object') errors.push(...checkSchema(schema.items as Dict, `${path}.items`));
  if (typeof schema.additionalProperties === 'object')
    errors.push(...checkSchema(schema.additionalProperties as Dict, `${path}.additionalProperties`));
  return errors;
}

function checkDefinition(definition: KubeObject): FieldError[] {
  const spec = (definition.spec ?? {}) as Dict;
  const errors: FieldError[] = [];
  const versions = Array.isArray(spec.versions) ? (spec.versions as Dict[]) : [];
  for (const key of ['group', 'scope']) if (!spec[key]) errors.push(field.required(`spec.${key}`));
  for (const key of ['plural', 'kind'])
    if (!spec.names?.[key]) errors.push(field.required(`spec.names.${key}`));
  if (spec.scope && spec.scope !== 'Cluster' && spec.scope !== 'Namespaced')
    errors.push(field.unsupported('spec.scope', spec.scope, ['Cluster', 'Namespaced']));
  const expected = `${spec.names?.plural}.${spec.group}`;
  if (definition.metadata.name !== expected)
    errors.push(
      field.invalid('metadata.name', definition.metadata.name, `must be spec.names.plural+"."+spec.group`),
    );
  if (versions.length === 0) errors.push(field.required('spec.versions'));
  if (versions.length > 0 && versions.filter((version) => version.storage).length !== 1)
    errors.push(
      field.invalid(
        'spec.versions',
        versions.map((version) => version.name as string),
        'must have exactly one version marked as storage version',
      ),
    );
  if (spec.conversion?.strategy === 'Webhook')
    errors.push(field.unsupported('spec.conversion.strategy', 'Webhook', ['None']));
  for (const [index, version] of versions.entries()) {
    const path = `spec.versions[${index}]`;
    if (!version.name) errors.push(field.required(`${path}.name`));
    if (!version.schema?.openAPIV3Schema)
      errors.push(field.required(`${path}.schema.openAPIV3Schema`, 'schemas are required'));
    errors.push(...checkSchema(version.schema?.openAPIV3Schema as Dict, `${path}.schema.openAPIV3Schema`));
  }
  return errors;
}

export const crdRules: KindRules = {
  setDefaults: (definition) => {
    const names = definition.spec?.names as Dict | undefined;
    if (names?.kind) {
      names.singular ??= String(names.kind).toLowerCase();
      names.listKind ??= `${names.kind}List`;
    }
    if (definition.spec) definition.spec.conversion ??= { strategy: 'None' };
  },
  validate: checkDefinition,
};
