// SPDX-License-Identifier: Apache-2.0
import type { MonitorEventModel } from '@cilium-ts/agent-api';
import { monitorEvent, type DecisionLookup } from './event-model.ts';
import type { EventListener } from './fan-out.ts';
import type { StreamHandler } from '../api/server.ts';

/** Lines waiting for one slow client; what comes then is counted and told. */
const QUEUE_MAX = 4096;

/** `GET /v1/monitor?type=drop,trace`: one JSON object per line. */
export function monitorStream(
  subscribe: (listener: EventListener) => () => void,
  decide: DecisionLookup,
): StreamHandler {
  return (query, write, onClose) => {
    const types = new Set((query['type'] ?? '').split(',').filter((type) => type !== ''));
    const endpoint = query['endpoint'] === undefined ? undefined : Number(query['endpoint']);
    let lost = 0;
    let written = 0;
    let open = true;
    const matches = (event: MonitorEventModel): boolean =>
      (types.size === 0 || types.has(event.type)) &&
      (endpoint === undefined || event.source === endpoint || event.dstID === endpoint);
    const unsubscribe = subscribe((batch) => {
      const lines: string[] = [];
      batch.forEach((bytes, offset, length) => {
        if (written + lines.length > QUEUE_MAX) {
          lost++;
          return;
        }
        const event = monitorEvent(bytes, offset, length, decide);
        if (event && matches(event)) lines.push(JSON.stringify(event));
      });
      if (lines.length === 0 || !open) return;
      if (lost > 0) {
        lines.push(JSON.stringify({ type: 'lost', count: lost }));
        lost = 0;
      }
      written += lines.length;
      if (write(`${lines.join('\n')}\n`)) written = 0;
      else setImmediate(() => (written = 0));
    });
    onClose(() => {
      open = false;
      unsubscribe();
    });
  };
}
