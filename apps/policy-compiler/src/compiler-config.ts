// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { parseCommandLine, readConfigDirectory } from '@cilium-ts/config';
import type { EnforcementMode } from '@cilium-ts/policy';
import {
  isLogLevel,
  LOG_LEVELS,
  parseListenAddress,
  type ListenAddress,
  type LogLevel,
} from '@cilium-ts/telemetry';

export interface CompilerConfig {
  readonly cluster: string;
  readonly namespace: string;
  /** Unique among the replicas, and the same after a restart: the lease is still ours then. */
  readonly candidate: string;
  readonly logLevel: LogLevel;
  readonly mode: EnforcementMode;
  /** The node may always reach its own pods. */
  readonly allowLocalhost: boolean;
  readonly hostFirewall: boolean;
  /** `namespace/name` of the NATS Service. */
  readonly natsService: string;
  /** `host:port`, several by commas; overrides the Service. */
  readonly natsUrl: string | undefined;
  /** Undefined for none. */
  readonly healthAddress: ListenAddress | undefined;
  readonly grpcAddress: string;
  readonly kubeConfig: string | undefined;
}

const MODES: readonly EnforcementMode[] = ['default', 'always', 'never'];

/** Flags over the mounted ConfigMap over defaults. @throws AppError `bad-config` naming key, value and what is allowed */
export function compilerConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  host: string,
): CompilerConfig {
  const { configDirectory, flags } = parseCommandLine(args);
  const values = { ...(configDirectory === undefined ? {} : readConfigDirectory(configDirectory)), ...flags };
  const level = values['log-level'] ?? 'info';
  if (!isLogLevel(level)) throw bad('log-level', level, LOG_LEVELS);
  const mode = (values['policy-enforcement-mode'] ?? 'default') as EnforcementMode;
  if (!MODES.includes(mode)) throw bad('policy-enforcement-mode', mode, MODES);
  const natsService = values['nats-service'] ?? 'kube-system/cilium-nats';
  if (!/^[^/]+\/[^/]+$/.test(natsService)) throw bad('nats-service', natsService, ['namespace/name']);
  return {
    cluster: values['cluster-name'] ?? 'default',
    namespace: env['CILIUM_K8S_NAMESPACE'] ?? 'kube-system',
    candidate: env['K8S_POD_NAME'] ?? host,
    logLevel: level,
    mode,
    allowLocalhost: values['allow-localhost'] !== 'policy',
    hostFirewall: flag(values, 'enable-host-firewall'),
    natsService,
    natsUrl: values['nats-url'] || undefined,
    healthAddress: parseListenAddress(
      'policy-compiler-health-address',
      values['policy-compiler-health-address'] ?? ':9235',
    ),
    grpcAddress: values['policy-compiler-grpc-address'] ?? '[::]:4246',
    kubeConfig: values['k8s-kubeconfig-path'] || undefined,
  };
}

function flag(values: Readonly<Record<string, string | undefined>>, key: string): boolean {
  const text = values[key] ?? 'false';
  if (text !== 'true' && text !== 'false') throw bad(key, text, ['true', 'false']);
  return text === 'true';
}

function bad(key: string, text: string, allowed: readonly string[]): AppError {
  const message = `configuration key ${key}: ${JSON.stringify(text)} is not allowed; allowed: ${allowed.join(', ')}`;
  return new AppError('bad-config', message, { key });
}
