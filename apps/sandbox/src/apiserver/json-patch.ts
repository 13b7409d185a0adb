// SPDX-License-Identifier: Apache-2.0
import { type Dict, isDict, jsonEqual } from './model.ts';
import { ApiError, badRequest } from './status.ts';

/** RFC 7386: null removes, objects merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isDict(patch)) return patch;
  const out: Dict = isDict(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = mergePatch(out[key], value);
  }
  return out;
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

function pointer(path: unknown): string[] {
  if (typeof path !== 'string' || (path !== '' && !path.startsWith('/')))
    throw badRequest(`a JSON patch path starts with "/", got ${JSON.stringify(path)}`);
  return path
    .split('/')
    .slice(1)
    .map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'));
}

const missing = (path: string): ApiError =>
  new ApiError(
    422,
    'Invalid',
    `the server rejected our request due to an error in our request: path ${path} does not exist`,
  );

function child(node: unknown, key: string, path: string): unknown {
  const value = Array.isArray(node)
    ? (node as unknown[])[arrayIndex(key, node.length - 1, path)]
    : (node as Dict)?.[key];
  if (value === undefined) throw missing(path);
  return value;
}

function arrayIndex(key: string, max: number, path: string): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) > max) throw missing(path);
  return Number(key);
}

function parentOf(root: unknown, path: string): { parent: unknown; key: string } {
  const parts = pointer(path);
  const key = parts.pop();
  if (key === undefined) throw badRequest('a JSON patch may not address the whole object');
  let parent = root;
  for (const part of parts) parent = child(parent, part, path);
  return { parent, key };
}

function add(root: unknown, path: string, value: unknown): void {
  const { parent, key } = parentOf(root, path);
  if (Array.isArray(parent)) {
    const at = key === '-' ? parent.length : arrayIndex(key, parent.length, path);
    parent.splice(at, 0, value);
  } else if (isDict(parent)) parent[key] = value;
  else throw missing(path);
}

function remove(root: unknown, path: string): unknown {
  const { parent, key } = parentOf(root, path);
  const value = child(parent, key, path);
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete (parent as Dict)[key];
  return value;
}

function read(root: unknown, path: string): unknown {
  return pointer(path).reduce((node, part) => child(node, part, path), root);
}

function applyOne(root: unknown, operation: Operation): void {
  const { op, path, from = '', value } = operation;
  if (op === 'add') add(root, path, structuredClone(value));
  else if (op === 'remove') remove(root, path);
  else if (op === 'replace') {
    const { parent, key } = parentOf(root, path);
    child(parent, key, path);
    (parent as Dict)[key] = structuredClone(value);
  } else if (op === 'move') add(root, path, remove(root, from));
  else if (op === 'copy') add(root, path, structuredClone(read(root, from)));
  else if (op === 'test') {
    if (!jsonEqual(read(root, path), value))
      throw new ApiError(
        422,
        'Invalid',
        `the server rejected our request due to an error in our request: test of ${path} failed`,
      );
  } else
    throw badRequest(
      `unknown JSON patch operation ${JSON.stringify(op)}; want add, remove, replace, move, copy or test`,
    );
}

/** RFC 6902 on a copy of `target`. Throws 400 for a malformed patch, 422 where it does not fit the object. */
export function jsonPatch(target: Dict, patch: unknown): Dict {
  if (!Array.isArray(patch)) throw badRequest('a JSON patch is a list of operations');
  const out = structuredClone(target);
  for (const operation of patch as Operation[]) applyOne(out, operation);
  return out;
}
