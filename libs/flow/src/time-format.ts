// SPDX-License-Identifier: Apache-2.0
import type { Timestamp } from '@cilium-ts/proto';

export const TIME_FORMATS = [
  'StampMilli',
  'YearMonthDay',
  'YearMonthDayHour',
  'YearMonthDayHourMinute',
  'RFC3339',
  'RFC3339Milli',
  'RFC3339Micro',
  'RFC3339Nano',
  'RFC1123Z',
] as const;
export type TimeFormat = (typeof TIME_FORMATS)[number];

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

const two = (value: number): string => String(value).padStart(2, '0');

/** Milliseconds since the epoch; undefined where absent. */
export function timestampMs(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1000 + time.nanos / 1e6;
}

/** In UTC; `N/A` where absent. */
export function formatTime(time: Timestamp | undefined, format: TimeFormat): string {
  if (!time) return 'N/A';
  const date = new Date(Number(time.seconds) * 1000);
  if (Number.isNaN(date.getTime())) return 'N/A';
  const day = date.toISOString().slice(0, 10);
  const clock = date.toISOString().slice(11, 19);
  const fraction = String(time.nanos).padStart(9, '0');
  switch (format) {
    case 'StampMilli': {
      const dayOfMonth = String(date.getUTCDate()).padStart(2, ' ');
      return `${MONTHS[date.getUTCMonth()]} ${dayOfMonth} ${clock}.${fraction.slice(0, 3)}`;
    }
    case 'YearMonthDay':
      return day;
    case 'YearMonthDayHour':
      return `${day}T${clock.slice(0, 2)}Z`;
    case 'YearMonthDayHourMinute':
      return `${day}T${clock.slice(0, 5)}Z`;
    case 'RFC3339':
      return `${day}T${clock}Z`;
    case 'RFC3339Milli':
      return `${day}T${clock}.${fraction.slice(0, 3)}Z`;
    case 'RFC3339Micro':
      return `${day}T${clock}.${fraction.slice(0, 6)}Z`;
    case 'RFC3339Nano':
      return `${day}T${clock}${trimmed(fraction)}Z`;
    case 'RFC1123Z': {
      const month = MONTHS[date.getUTCMonth()];
      return `${DAYS[date.getUTCDay()]}, ${two(date.getUTCDate())} ${month} ${date.getUTCFullYear()} ${clock} +0000`;
    }
  }
}

/** Fraction of a second without trailing zeros, as protobuf's JSON and RFC3339Nano want it. */
function trimmed(fraction: string): string {
  const digits = fraction.replace(/0+$/, '');
  return digits === '' ? '' : `.${digits}`;
}
