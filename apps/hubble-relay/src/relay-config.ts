// SPDX-License-Identifier: Apache-2.0
// hubble-relay serve: flags, then environment HUBBLE_RELAY_*, then a YAML file (--config).
import { readFileSync } from 'node:fs';
import { AppError, errorMessage } from '@cilium-ts/base';
import { parseCommandLine } from '@cilium-ts/config';
import { isLogLevel, LOG_LEVELS, type LogLevel } from '@cilium-ts/telemetry';
import { parse } from 'yaml';

export interface RelayConfig {
  /** Who tells the peers: HOST:PORT of any agent, or unix:///PATH. */
  readonly peerService: string;
  readonly listenAddress: string;
  /** gRPC health alone; empty for none. */
  readonly healthListenAddress: string;
  /** Prometheus text; empty for none. */
  readonly metricsListenAddress: string;
  readonly retryTimeoutMs: number;
  /** Flows held to sort them. */
  readonly sortBufferMax: number;
  /** How long a flow waits for earlier ones of silent nodes. */
  readonly sortBufferDrainMs: number;
  readonly logLevel: LogLevel;
}

type Key = keyof typeof DEFAULTS;

const DEFAULTS = {
  'peer-service': 'unix:///var/run/cilium/hubble.sock',
  'listen-address': ':4245',
  'health-listen-address': ':4223',
  'metrics-listen-address': '',
  'retry-timeout': '1s',
  'sort-buffer-len-max': '100',
  'sort-buffer-drain-timeout': '1s',
  'log-level': 'info',
} as const;

const KEYS = Object.keys(DEFAULTS) as Key[];

/** What upstream's charts set and has no meaning here: there is no TLS yet. */
const IGNORED = new Set([
  'disable-server-tls',
  'disable-client-tls',
  'dial-timeout',
  'cluster-name',
  'debug',
]);

function readFile(path: string): Record<string, unknown> {
  try {
    return (parse(readFileSync(path, 'utf8')) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw new AppError('bad-config', `cannot read ${path}: ${errorMessage(error)}`, { path }, error);
  }
}

function durationMs(key: Key, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text);
  if (!match)
    throw new AppError(
      'bad-config',
      `${key} has value ${JSON.stringify(text)}; allowed: a duration such as 1s, 500ms`,
    );
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[match[2] as 'ms' | 's' | 'm'];
}

/** @throws AppError `bad-config` naming the key and what is allowed */
export function relayConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): RelayConfig {
  const [command, ...rest] = args;
  if (command !== 'serve') throw new AppError('bad-config', 'usage: hubble-relay serve [--key=value]');
  const { config: path, ...flags } = parseCommandLine(rest).flags;
  for (const name of Object.keys(flags)) {
    if (!(KEYS as string[]).includes(name) && !IGNORED.has(name)) {
      throw new AppError('bad-config', `unknown flag --${name}; known: ${KEYS.join(', ')}`);
    }
  }
  const file = path === undefined ? {} : readFile(path);
  const text = (key: Key): string => {
    const variable = `HUBBLE_RELAY_${key.toUpperCase().replaceAll('-', '_')}`;
    return String(flags[key] ?? environment[variable] ?? file[key] ?? DEFAULTS[key]);
  };
  const logLevel = text('log-level');
  if (!isLogLevel(logLevel)) {
    throw new AppError(
      'bad-config',
      `log-level has value ${JSON.stringify(logLevel)}; allowed: ${LOG_LEVELS.join(', ')}`,
    );
  }
  const sortBufferMax = Number(text('sort-buffer-len-max'));
  if (!Number.isInteger(sortBufferMax) || sortBufferMax < 1) {
    throw new AppError(
      'bad-config',
      `sort-buffer-len-max has value ${text('sort-buffer-len-max')}; allowed: 1 and more`,
    );
  }
  return {
    peerService: text('peer-service'),
    listenAddress: text('listen-address'),
    healthListenAddress: text('health-listen-address'),
    metricsListenAddress: text('metrics-listen-address'),
    retryTimeoutMs: durationMs('retry-timeout', text('retry-timeout')),
    sortBufferMax,
    sortBufferDrainMs: durationMs('sort-buffer-drain-timeout', text('sort-buffer-drain-timeout')),
    logLevel,
  };
}
