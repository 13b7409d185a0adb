// SPDX-License-Identifier: Apache-2.0

/** A JSON object whose shape its kind decides. The server is generic over kinds, hence the open type. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Dict = Record<string, any>;

/** Object metadata as the server reads and writes it. */
export interface Metadata {
  name: string;
  namespace?: string;
  generateName?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: Dict[];
  managedFields?: Dict[];
}

/** A stored object. Never changed in place once stored: encoders and watchers keep references to it. */
export interface KubeObject extends Dict {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
}

/** One column of a table answer. `cell` returns what is shown; dates are shown as an age by the client. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'date' | 'boolean';
  readonly format?: string;
  /** 0 is always shown, 1 only with `-o wide`. */
  readonly priority: number;
  readonly description?: string;
  readonly cell: (object: KubeObject) => unknown;
}

/** A list of field errors as `Status` details carry them. */
export interface FieldError {
  readonly field: string;
  readonly reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueTypeInvalid'
    | 'FieldValueTooLong';
  /** The sentence without the path, e.g. `Required value: must be set`. */
  readonly message: string;
}

/** What a kind does beyond the generic rules. All functions change `object` in place; it is not stored yet. */
export interface KindRules {
  /** Fills in what the user may leave out. Runs before validation, on create and on update. */
  readonly setDefaults?: (object: KubeObject) => void;
  readonly validate?: (object: KubeObject, old: KubeObject | null) => FieldError[];
}

/** One served resource in one version. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** `status`, `scale`, ... */
  readonly subresources: readonly string[];
  /** Name in the table of built-in types, e.g. `core.Pod`; absent for custom resources. */
  readonly typeName?: string;
  /** Structural schema of a custom resource. */
  readonly schema?: Dict;
  readonly columns: readonly Column[];
  /** Where objects live: the same for all versions of a resource. */
  readonly storage: string;
  /** Only `create` and nothing is stored (reviews). */
  readonly transient?: boolean;
  readonly rules?: KindRules;
  /** Custom resources: JSON paths of the scale subresource. */
  readonly scalePaths?: { readonly spec: string; readonly status: string; readonly selector?: string };
  /** Turn a stored object into this version, and back. Absent where only apiVersion differs. */
  readonly fromStored?: (object: KubeObject) => KubeObject;
  readonly toStored?: (object: KubeObject) => KubeObject;
}

/** `v1` or `apps/v1`. */
export function apiVersionOf(resource: { readonly group: string; readonly version: string }): string {
  return resource.group ? `${resource.group}/${resource.version}` : resource.version;
}

/** `pods` or `deployments.apps`, as messages name a resource. */
export function qualifiedName(resource: { readonly group: string; readonly plural: string }): string {
  return resource.group ? `${resource.plural}.${resource.group}` : resource.plural;
}

/** Structural equality of JSON values; key order does not matter. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => jsonEqual(item, b[index]));
  }
  const left = a as Dict;
  const right = b as Dict;
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => key in right && jsonEqual(left[key], right[key]));
}

/** Now, in the form Kubernetes timestamps have (whole seconds, UTC). */
export function timestamp(offsetSeconds = 0): string {
  return new Date(Date.now() + offsetSeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}

export function isDict(value: unknown): value is Dict {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
