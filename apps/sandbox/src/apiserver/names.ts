// SPDX-License-Identifier: Apache-2.0
import { randomInt } from 'node:crypto';
import type { Dict, FieldError } from './model.ts';
import { field } from './status.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SERVICE_NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const PATH_SEGMENT = /^(?!\.\.?$)[^/%]+$/;
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

const LABEL_HELP =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " +
  "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_HELP =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " +
  "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE_HELP =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, " +
  "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is " +
  "'[a-z]([-a-z0-9]*[a-z0-9])?')";

/** Whether `text` is a DNS-1123 label of at most 63 characters. */
export function isDnsLabel(text: unknown): boolean {
  return typeof text === 'string' && text.length <= 63 && LABEL.test(text);
}

/** Checks a DNS-1123 label at `path`. */
export function checkDnsLabel(text: unknown, path: string): FieldError[] {
  if (typeof text !== 'string' || text === '') return [field.required(path)];
  if (text.length > 63) return [field.invalid(path, text, 'must be no more than 63 characters')];
  return LABEL.test(text) ? [] : [field.invalid(path, text, LABEL_HELP)];
}

/** Checks the name of an object of `kind`. */
export function checkName(name: string, kind: string): FieldError[] {
  const path = 'metadata.name';
  if (kind === 'Namespace') return checkDnsLabel(name, path);
  if (kind === 'Service') {
    if (name.length > 63) return [field.invalid(path, name, 'must be no more than 63 characters')];
    return SERVICE_NAME.test(name) ? [] : [field.invalid(path, name, SERVICE_HELP)];
  }
  if (['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'].includes(kind))
    return PATH_SEGMENT.test(name) ? [] : [field.invalid(path, name, "may not contain '/' or '%'")];
  if (name.length > 253) return [field.invalid(path, name, 'must be no more than 253 characters')];
  return SUBDOMAIN.test(name) ? [] : [field.invalid(path, name, SUBDOMAIN_HELP)];
}

/** Checks a label or annotation key. */
function checkKey(key: string, path: string): FieldError[] {
  const [first, second] = key.includes('/')
    ? [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)]
    : ['', key];
  if (key.includes('/') && (!SUBDOMAIN.test(first.toLowerCase()) || first.length > 253))
    return [field.invalid(path, key, `prefix part ${SUBDOMAIN_HELP}`)];
  if (second.length > 63) return [field.invalid(path, key, 'name part must be no more than 63 characters')];
  if (QUALIFIED.test(second)) return [];
  return [
    field.invalid(
      path,
      key,
      "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ),
  ];
}

/** Checks label keys and values. */
export function checkLabels(labels: unknown, path: string): FieldError[] {
  if (labels === undefined || labels === null) return [];
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels as Dict)) {
    errors.push(...checkKey(key, path));
    if (typeof value !== 'string') errors.push(field.wrongType(`${path}.${key}`, value, 'must be a string'));
    else if (value.length > 63) errors.push(field.invalid(path, value, 'must be no more than 63 characters'));
    else if (!LABEL_VALUE.test(value))
      errors.push(
        field.invalid(
          path,
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        ),
      );
  }
  return errors;
}

/** Checks keys of annotations and that values are strings. */
export function checkAnnotations(annotations: unknown): FieldError[] {
  if (annotations === undefined || annotations === null) return [];
  return Object.entries(annotations as Dict).flatMap(([key, value]) => [
    ...checkKey(key.toLowerCase(), 'metadata.annotations'),
    ...(typeof value === 'string'
      ? []
      : [field.wrongType(`metadata.annotations.${key}`, value, 'must be a string')]),
  ]);
}

const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

/** Five random characters, as generateName appends them. */
export function randomSuffix(): string {
  return Array.from({ length: 5 }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}
