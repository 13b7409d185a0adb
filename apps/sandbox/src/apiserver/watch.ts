// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import { apiVersionOf, type Dict, type KubeObject, type Resource } from './model.ts';
import { ApiError } from './status.ts';
import { TooOld, type Change, type ChangeType, type Store } from './store.ts';
import { table, type IncludeObject } from './table.ts';
import { encodeObject } from './wire.ts';

export interface WatchRequest {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly matches: (object: KubeObject) => boolean;
  readonly resourceVersion: string;
  readonly bookmarks: boolean;
  readonly sendInitialEvents: boolean;
  readonly timeoutSeconds: number;
  readonly table: IncludeObject | null;
}

const BOOKMARK_MS = 30_000;
/** Unsent bytes at which a watcher is too slow to keep; it starts again from its last position. */
const SLOW_BYTES = 64 << 20;

/** What a change means to a watcher that sees only matching objects; null when nothing. */
function visibleType(change: Change, matches: (object: KubeObject) => boolean): ChangeType | null {
  const now = change.type !== 'DELETED' && matches(change.object);
  const before = change.previous !== null && matches(change.previous);
  if (now) return before ? 'MODIFIED' : 'ADDED';
  return before ? 'DELETED' : null;
}

/** Streams changes until the client leaves or the time is over. Throws 410 for a position no longer known. */
export function serveWatch(store: Store, request: WatchRequest, response: ServerResponse): void {
  const { resource, namespace, matches } = request;
  const inScope = (object: KubeObject): boolean =>
    (namespace === undefined || object.metadata.namespace === namespace) && matches(object);
  let withColumns = true;
  const scope = request.table ? `table:${request.table}` : 'plain';

  const encodeEvent = (type: ChangeType, object: KubeObject): string => {
    if (!request.table) return `{"type":"${type}","object":${encodeObject(object, resource)}}\n`;
    const body = table(
      [object],
      resource,
      request.table,
      { resourceVersion: object.metadata.resourceVersion },
      withColumns,
    );
    withColumns = false;
    return `${JSON.stringify({ type, object: body })}\n`;
  };
  const onChange = (change: Change): void => {
    const type = visibleType(change, inScope);
    if (type === null) return;
    // A delete by leaving the selection shows the object's last matching state under the new revision.
    const key = `${scope}/${resource.version}/${resource.group}/${type}`;
    let bytes = withColumns && request.table ? undefined : change.encoded.get(key);
    if (!bytes) {
      bytes = Buffer.from(encodeEvent(type, change.object));
      if (!request.table) change.encoded.set(key, bytes);
    }
    response.write(bytes);
    if (response.writableLength > SLOW_BYTES) response.destroy();
  };

  const fromStart =
    request.resourceVersion === '' || request.resourceVersion === '0' || request.sendInitialEvents;
  const revision = fromStart ? store.revision : Number(request.resourceVersion);
  if (!Number.isSafeInteger(revision))
    throw new ApiError(400, 'BadRequest', `invalid resourceVersion ${request.resourceVersion}`);
  const queue: Change[] = [];
  let live = false;
  const stop = startWatch(store, resource.storage, revision, (change) =>
    live ? onChange(change) : queue.push(change),
  );
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache' });
  response.flushHeaders();
  const initial = fromStart ? store.list(resource.storage, namespace).filter(inScope) : [];
  for (const object of initial) response.write(encodeEvent('ADDED', object));
  if (request.sendInitialEvents) response.write(bookmark(store, resource, request.table, true));
  live = true;
  for (const change of queue) onChange(change);
  keepAlive(store, request, response, stop);
}

function startWatch(
  store: Store,
  storage: string,
  revision: number,
  listener: (change: Change) => void,
): () => void {
  try {
    return store.watch(storage, revision, listener);
  } catch (error) {
    if (error instanceof TooOld) throw new ApiError(410, 'Expired', error.message);
    throw error;
  }
}

function keepAlive(store: Store, request: WatchRequest, response: ServerResponse, stop: () => void): void {
  const ticking = request.bookmarks
    ? setInterval(() => response.write(bookmark(store, request.resource, request.table, false)), BOOKMARK_MS)
    : undefined;
  const timeout = setTimeout(() => {
    if (request.bookmarks) response.write(bookmark(store, request.resource, request.table, false));
    response.end();
  }, request.timeoutSeconds * 1000);
  response.once('close', () => {
    clearInterval(ticking);
    clearTimeout(timeout);
    stop();
  });
}

function bookmark(
  store: Store,
  resource: Resource,
  asTable: IncludeObject | null,
  initialEnd: boolean,
): string {
  const metadata: Dict = {
    resourceVersion: String(store.revision),
    creationTimestamp: null,
    ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
  };
  const plain = { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata };
  const object = asTable
    ? {
        ...table([], resource, asTable, { resourceVersion: String(store.revision) }),
        rows: [{ cells: resource.columns.map(() => null), object: plain }],
      }
    : plain;
  return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
}
