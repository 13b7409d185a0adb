// SPDX-License-Identifier: Apache-2.0
import { checkBuiltinFields } from './builtin-fields.ts';
import type { FieldError, KubeObject, Resource } from './model.ts';
import { applySchema } from './schema.ts';
import { ApiError, badRequest } from './status.ts';

/** What the write asks about unknown fields. */
export interface FieldPolicy {
  readonly validation: 'Strict' | 'Warn' | 'Ignore';
  readonly warn: (text: string) => void;
}

/**
 * Drops or refuses unknown fields, fills defaults and checks types, by the custom schema or by the table of
 * built-in types. Throws 400 for unknown fields under Strict and for wrong types in built-in kinds.
 */
export function admitSchema(resource: Resource, object: KubeObject, policy: FieldPolicy): FieldError[] {
  const unknown: string[] = [];
  let errors: FieldError[] = [];
  if (resource.schema) errors = applySchema(resource.schema, object, unknown);
  else if (resource.typeName) {
    const wrong = checkBuiltinFields(resource.typeName, object, unknown);
    if (wrong.length > 0)
      throw badRequest(
        `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ${wrong.join('; ')}`,
      );
  }
  if (unknown.length > 0 && policy.validation === 'Strict') {
    const list = unknown.map((path) => `unknown field "${path}"`).join(', ');
    throw new ApiError(400, 'BadRequest', `strict decoding error: ${list}`);
  }
  if (policy.validation === 'Warn') for (const path of unknown) policy.warn(`unknown field "${path}"`);
  return errors;
}
