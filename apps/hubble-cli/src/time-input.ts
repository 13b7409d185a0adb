// SPDX-License-Identifier: Apache-2.0
import type { Timestamp } from '@cilium-ts/proto';
import { parseDuration, usage } from './arguments.ts';

const DATE = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2})(?::(\d{2}))?)?(Z|[+-]\d{2}:\d{2})?$/;
const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;
const RFC1123 = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} ([+-]\d{4}|[A-Z]{3,4})$/;

/** A duration before now, a date with or without hour and minute, RFC 3339 or RFC 1123. @throws AppError `usage` */
export function parseTime(text: string, now: number): Timestamp {
  const ago = parseDuration(text);
  const ms = ago === undefined ? wallClock(text) : now - ago;
  if (ms === undefined || Number.isNaN(ms)) {
    throw usage(`invalid time ${JSON.stringify(text)}: use 5m, 2026-03-04, 2026-03-04T09:15Z or RFC 3339`);
  }
  const seconds = Math.floor(ms / 1000);
  const fraction = /\.(\d{1,9})/.exec(RFC3339.test(text) ? text : '')?.[1];
  const nanos = fraction ? Number(fraction.padEnd(9, '0')) : Math.round((ms - seconds * 1000) * 1e6);
  return { seconds: BigInt(seconds), nanos };
}

function wallClock(text: string): number | undefined {
  if (RFC3339.test(text)) return Date.parse(text.replace(' ', 'T').toUpperCase());
  if (RFC1123.test(text)) return Date.parse(text);
  const date = DATE.exec(text);
  if (!date) return undefined;
  const [, day, hour = '00', minute = '00', zone = 'Z'] = date;
  return Date.parse(`${day}T${hour}:${minute}:00${zone}`);
}
