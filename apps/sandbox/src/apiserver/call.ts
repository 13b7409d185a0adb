// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { User } from './authentication.ts';
import type { Resource } from './model.ts';

/** One request on a resource. */
export interface Call {
  readonly method: string;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly user: User;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** What stands behind the subresource. */
  readonly rest: readonly string[];
}

/** Takes `/api/v1/...` and `/apis/GROUP/VERSION/...` apart; null when the path names no resource. */
export function parseResourcePath(path: string): ResourcePath | null {
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  const root = parts.shift();
  if (root !== 'api' && root !== 'apis') return null;
  const group = root === 'api' ? '' : parts.shift();
  const version = parts.shift();
  if (group === undefined || version === undefined || parts.length === 0) return null;
  let namespace: string | undefined;
  // `namespaces/x/pods` is inside a namespace; `namespaces/x/status` and `/finalize` are the namespace itself.
  const own = group === '' && parts.length === 3 && (parts[2] === 'status' || parts[2] === 'finalize');
  if (parts[0] === 'namespaces' && parts.length >= 3 && !own) {
    namespace = parts[1];
    parts.splice(0, 2);
  }
  const [plural, name, subresource, ...rest] = parts;
  return { group, version, namespace, plural: plural!, name, subresource, rest };
}
