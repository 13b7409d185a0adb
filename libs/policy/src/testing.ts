// SPDX-License-Identifier: Apache-2.0
// What tests of the policy library build their worlds of.
import type { Label } from '@cilium-ts/identity';
import { parseCiliumPolicy } from './parse-object.ts';
import { formatProblems } from './problem.ts';
import type { ParsedPolicy } from './rule.ts';

/** Parses an object that must be valid. @throws Error with its problems */
export function parsed(kind: 'cnp' | 'ccnp', name: string, spec: unknown, namespace = 'ns'): ParsedPolicy {
  const long = kind === 'cnp' ? 'CiliumNetworkPolicy' : 'CiliumClusterwideNetworkPolicy';
  const metadata = kind === 'cnp' ? { name, namespace } : { name };
  const result = parseCiliumPolicy({ kind: long, metadata, spec }, { cluster: 'default' });
  if (!result.ok) throw new Error(formatProblems(result.error));
  return result.value;
}

/** Labels of a pod. */
export function podLabels(namespace: string, labels: Readonly<Record<string, string>>): Label[] {
  const all = {
    ...labels,
    'io.kubernetes.pod.namespace': namespace,
    'io.cilium.k8s.policy.cluster': 'default',
  };
  return Object.entries(all).map(([key, value]) => ({ source: 'k8s', key, value }));
}
