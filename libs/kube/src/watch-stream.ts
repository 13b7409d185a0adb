// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { KubeError } from './errors.ts';
import type { KubeObject } from './wire.ts';

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** A line longer than this is not an object of ours; guards the memory against a broken peer. */
const MAX_LINE = 32 * 1024 * 1024;

/**
 * Reads a watch until its end and hands on every event. Resolves at the regular end of the stream.
 * @throws KubeError code 0 for a broken connection, garbage, or `inactivityMs` of silence; the server's own for `ERROR`
 */
export async function readWatch<T extends KubeObject>(
  response: IncomingMessage,
  inactivityMs: number,
  onEvent: (event: WatchEvent<T>) => void,
): Promise<void> {
  response.setEncoding('utf8');
  const timer = setTimeout(() => {
    response.destroy(new Error(`watch silent for ${inactivityMs} ms`));
  }, inactivityMs);
  let pending: string[] = [];
  let length = 0;
  try {
    for await (const part of response) {
      timer.refresh();
      let chunk = part as string;
      for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n')) {
        pending.push(chunk.slice(0, end));
        chunk = chunk.slice(end + 1);
        const line = pending.length === 1 ? pending[0]! : pending.join('');
        pending = [];
        length = 0;
        if (line.trim() !== '') onEvent(parseEvent<T>(line));
      }
      if (chunk === '') continue;
      pending.push(chunk);
      length += chunk.length;
      if (length > MAX_LINE) throw new Error(`watch event longer than ${MAX_LINE} characters`);
    }
  } catch (error) {
    response.destroy();
    throw error instanceof KubeError ? error : KubeError.unreachable('watch', error);
  } finally {
    clearTimeout(timer);
  }
}

function parseEvent<T extends KubeObject>(line: string): WatchEvent<T> {
  let event: WatchEvent<T>;
  try {
    event = JSON.parse(line) as WatchEvent<T>;
  } catch (error) {
    throw KubeError.unreachable('watch: event is not JSON', error);
  }
  if (event.type === 'ERROR') {
    const status = event.object as { code?: number; reason?: string; message?: string } | undefined;
    throw new KubeError(
      status?.code ?? 500,
      status?.reason ?? 'InternalError',
      `watch: ${status?.message ?? 'error event'}`,
    );
  }
  if (typeof event.object?.metadata !== 'object') {
    throw KubeError.unreachable('watch', new Error('event without object'));
  }
  return event;
}
