// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { parseCommandLine, readConfigDirectory } from '@cilium-ts/config';
import { labelFilter, type LabelFilter } from '@cilium-ts/identity';
import {
  isLogLevel,
  LOG_LEVELS,
  parseListenAddress,
  type ListenAddress,
  type LogLevel,
} from '@cilium-ts/telemetry';

export interface OperatorConfig {
  readonly cluster: string;
  readonly namespace: string;
  /** Unique among the replicas. */
  readonly candidate: string;
  readonly logLevel: LogLevel;
  readonly labels: LabelFilter;
  /** Milliseconds between two looks for unused identities, and how long one must be unused before it goes. */
  readonly identityGcIntervalMs: number;
  readonly identityHeartbeatTimeoutMs: number;
  /** Of health and metrics; undefined for none. */
  readonly apiAddress: ListenAddress | undefined;
}

const DURATION = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** Flags over the mounted ConfigMap over defaults. @throws AppError `bad-config` naming key, value and what is allowed */
export function operatorConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): OperatorConfig {
  const { configDirectory, flags } = parseCommandLine(args);
  const values = { ...(configDirectory === undefined ? {} : readConfigDirectory(configDirectory)), ...flags };
  const level = values['log-level'] ?? 'info';
  if (!isLogLevel(level)) throw bad('log-level', level, LOG_LEVELS.join(', '));
  return {
    cluster: values['cluster-name'] ?? 'default',
    namespace: env['CILIUM_K8S_NAMESPACE'] ?? 'kube-system',
    candidate: env['K8S_POD_NAME'] ?? `operator-${process.pid}`,
    logLevel: level,
    labels: labelFilter(values['labels']),
    identityGcIntervalMs: duration('identity-gc-interval', values['identity-gc-interval'] ?? '15m'),
    identityHeartbeatTimeoutMs: duration(
      'identity-heartbeat-timeout',
      values['identity-heartbeat-timeout'] ?? '30m',
    ),
    apiAddress: parseListenAddress('operator-api-serve-addr', values['operator-api-serve-addr'] ?? ':9234'),
  };
}

function duration(key: string, text: string): number {
  const match = DURATION.exec(text);
  if (!match || text === '') throw bad(key, text, 'a duration such as 15m, 90s or 1h30m');
  const [, hours = 0, minutes = 0, seconds = 0, milliseconds = 0] = match;
  return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000 + Number(milliseconds);
}

function bad(key: string, value: string, allowed: string): AppError {
  return new AppError(
    'bad-config',
    `configuration key ${key}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`,
  );
}
