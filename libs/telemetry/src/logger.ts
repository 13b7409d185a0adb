// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import { pino } from 'pino';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A logger that can name a part of its component. */
export interface ComponentLogger extends Logger {
  child(fields: Record<string, unknown>): ComponentLogger;
}

export interface LoggerOptions {
  /** The process or subsystem; written as field `component`. */
  readonly component: string;
  readonly level?: LogLevel;
  /** Where lines go; standard error by default, so that standard output stays free for results. */
  readonly write?: (line: string) => void;
}

export function isLogLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text);
}

/** One JSON object per line: time (RFC 3339), level (text), component, message, fields. */
export function createLogger(options: LoggerOptions): ComponentLogger {
  const settings = {
    level: options.level ?? 'info',
    base: { component: options.component },
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
  };
  const { write } = options;
  const destination = write ? { write } : pino.destination({ dest: 2, sync: true });
  return pino(settings, destination);
}
