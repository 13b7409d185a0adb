// SPDX-License-Identifier: Apache-2.0
import { parseClusterPolicy } from './parse-cluster-policy.ts';
import { parseKubernetesPolicy } from './parse-kubernetes.ts';
import { parseCiliumPolicy, type ParseResult, type PolicyObject } from './parse-object.ts';
import type { ParseOptions } from './rule.ts';

/** Parses a policy of any kind; what names no other kind is a Cilium policy. */
export function parsePolicy(object: PolicyObject, options: ParseOptions): ParseResult {
  if (object.kind === 'NetworkPolicy') return parseKubernetesPolicy(object, options);
  if (object.kind === 'ClusterNetworkPolicy') return parseClusterPolicy(object, options);
  return parseCiliumPolicy(object, options);
}
