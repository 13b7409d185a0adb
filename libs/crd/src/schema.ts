// SPDX-License-Identifier: Apache-2.0

/** The part of JSON Schema that a CustomResourceDefinition may use. */
export interface JsonSchema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'boolean' | 'number';
  description?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema;
  items?: JsonSchema;
  required?: string[];
  enum?: readonly string[];
  format?: string;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  'x-kubernetes-preserve-unknown-fields'?: true;
  'x-kubernetes-int-or-string'?: true;
  'x-kubernetes-list-type'?: 'map';
  'x-kubernetes-list-map-keys'?: string[];
}

export const text: JsonSchema = { type: 'string' };
export const integer: JsonSchema = { type: 'integer' };
export const flag: JsonSchema = { type: 'boolean' };
export const dateTime: JsonSchema = { type: 'string', format: 'date-time' };
export const textMap: JsonSchema = { type: 'object', additionalProperties: text };

export function list(items: JsonSchema): JsonSchema {
  return { type: 'array', items };
}

export function object(properties: Record<string, JsonSchema>, required: string[] = []): JsonSchema {
  return required.length === 0 ? { type: 'object', properties } : { type: 'object', properties, required };
}

/**
 * An object whose unknown fields are kept, not pruned: a misspelt field must reach the compiler, which refuses it,
 * instead of vanishing and leaving a wider rule.
 */
export function open(properties: Record<string, JsonSchema>, required: string[] = []): JsonSchema {
  return { ...object(properties, required), 'x-kubernetes-preserve-unknown-fields': true };
}

export function oneOfTexts(...values: string[]): JsonSchema {
  return { type: 'string', enum: values };
}

export const labelSelector: JsonSchema = open({
  matchLabels: textMap,
  matchExpressions: list(open({ key: text, operator: text, values: list(text) }, ['key', 'operator'])),
});
