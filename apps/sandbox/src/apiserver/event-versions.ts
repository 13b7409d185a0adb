// SPDX-License-Identifier: Apache-2.0
import type { Dict, KubeObject } from './model.ts';

// Events exist in two groups; they are stored as core v1, whose field names differ in part.

function rename(
  object: KubeObject,
  apiVersion: string,
  names: readonly (readonly [string, string])[],
): KubeObject {
  const out: Dict = { ...object, apiVersion };
  for (const [from, to] of names) {
    if (!(from in out)) continue;
    out[to] = out[from];
    delete out[from];
  }
  return out as KubeObject;
}

const TO_CORE = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
  ['reportingController', 'reportingComponent'],
] as const;
const FROM_CORE = TO_CORE.map(([from, to]) => [to, from] as const);

/** events.k8s.io/v1 -> v1. */
export function eventToCore(object: KubeObject): KubeObject {
  return rename(object, 'v1', TO_CORE);
}

/** v1 -> events.k8s.io/v1. */
export function eventFromCore(object: KubeObject): KubeObject {
  return rename(object, 'events.k8s.io/v1', FROM_CORE);
}
