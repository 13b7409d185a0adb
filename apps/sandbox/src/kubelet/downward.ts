// SPDX-License-Identifier: Apache-2.0
// Fields of the pod itself for environment variables and downwardAPI volumes. Pure.
import { availableParallelism, totalmem } from 'node:os';
import type { Container } from '@cilium-ts/kube';
import { ContainerConfigError, type PodFacts } from './pod-facts.ts';

/** @throws ContainerConfigError for a path that the downward API does not have */
export function fieldValue(facts: PodFacts, path: string): string {
  const { pod } = facts;
  const keyed = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(path);
  if (keyed) return pod.metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.namespace':
      return pod.metadata.namespace ?? 'default';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return keyValueLines(pod.metadata.labels);
    case 'metadata.annotations':
      return keyValueLines(pod.metadata.annotations);
    case 'spec.nodeName':
      return facts.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName ?? 'default';
    case 'status.hostIP':
      return facts.hostIps[0] ?? '';
    case 'status.hostIPs':
      return facts.hostIps.join(',');
    case 'status.podIP':
      return facts.podIps[0] ?? '';
    case 'status.podIPs':
      return facts.podIps.join(',');
    default:
      throw new ContainerConfigError(
        `fieldPath ${JSON.stringify(path)} is not a field that pods can refer to`,
      );
  }
}

function keyValueLines(values: Record<string, string> | undefined): string {
  return Object.entries(values ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
}; // prettier-ignore

/** A Kubernetes quantity as a number; undefined where it is none. */
export function parseQuantity(text: string): number | undefined {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(text);
  const factor = SUFFIXES[match?.[2] ?? ''];
  return match && factor !== undefined ? Number(match[1]) * factor : undefined;
}

/** Without a limit the machine's capacity counts, as on a real node. */
export function resourceValue(container: Container, resource: string, divisor = '0'): string {
  const [kind, name = ''] = resource.split('.');
  const amounts = kind === 'limits' ? container.resources?.limits : container.resources?.requests;
  const fallback =
    kind !== 'limits' ? 0 : name === 'cpu' ? availableParallelism() : name === 'memory' ? totalmem() : 0;
  const amount = parseQuantity(amounts?.[name] ?? '') ?? fallback;
  const unit = parseQuantity(divisor) || 1;
  return String(Math.ceil(amount / unit));
}
