// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { parseCommandLine } from '@cilium-ts/config';
import { isLogLevel, LOG_LEVELS, type LogLevel } from '@cilium-ts/telemetry';

export interface UiConfig {
  readonly host: string;
  readonly port: number;
  /** HOST:PORT or unix:///PATH of the relay. */
  readonly relay: string;
  /** Flows asked of each node at the start. */
  readonly backfill: number;
  readonly logLevel: LogLevel;
}

const KEYS = ['listen', 'relay', 'backfill', 'log-level'] as const;

/** Flags, then environment (FLOWS_API_ADDR, GET_FLOWS_LAST, LOG_LEVEL). @throws AppError `bad-config` */
export function uiConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): UiConfig {
  const { flags } = parseCommandLine(args);
  for (const name of Object.keys(flags)) {
    if (!(KEYS as readonly string[]).includes(name)) {
      throw new AppError('bad-config', `unknown flag --${name}; known: ${KEYS.join(', ')}`);
    }
  }
  const listen = flags['listen'] ?? ':8081';
  const match = /^(.*):(\d{1,5})$/.exec(listen);
  if (!match)
    throw new AppError(
      'bad-config',
      `listen has value ${JSON.stringify(listen)}; allowed: HOST:PORT or :PORT`,
    );
  const backfill = Number(flags['backfill'] ?? environment['GET_FLOWS_LAST'] ?? 500);
  if (!Number.isInteger(backfill) || backfill < 0) {
    throw new AppError('bad-config', 'backfill: a number of flows is needed');
  }
  const logLevel = flags['log-level'] ?? environment['LOG_LEVEL'] ?? 'info';
  if (!isLogLevel(logLevel)) {
    throw new AppError(
      'bad-config',
      `log-level has value ${JSON.stringify(logLevel)}; allowed: ${LOG_LEVELS.join(', ')}`,
    );
  }
  return {
    host: match[1] === '' ? '::' : match[1]!.replace(/^\[|\]$/g, ''),
    port: Number(match[2]),
    relay: flags['relay'] ?? environment['FLOWS_API_ADDR'] ?? 'hubble-relay:80',
    backfill,
    logLevel,
  };
}
