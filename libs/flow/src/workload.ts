// SPDX-License-Identifier: Apache-2.0
import type { Workload } from '@cilium-ts/proto';

// Kubernetes draws generated suffixes from an alphabet without vowels, 0, 1 and 3.
const SAFE = '[2456789bcdfghjklmnpqrstvwxz]';
const OF_DEPLOYMENT = new RegExp(`^(.+)-${SAFE}{6,10}-${SAFE}{5}$`);
const OF_SET = new RegExp(`^(.+)-${SAFE}{5}$`);
const OF_STATEFUL_SET = /^(.+)-\d+$/;

/** The controller that a pod's name tells of; other nodes' pods are known by name only. */
export function workloadOf(podName: string): Workload | undefined {
  if (podName === '') return undefined;
  const deployment = OF_DEPLOYMENT.exec(podName);
  if (deployment) return { kind: 'Deployment', name: deployment[1]! };
  const stateful = OF_STATEFUL_SET.exec(podName);
  if (stateful) return { kind: 'StatefulSet', name: stateful[1]! };
  const set = OF_SET.exec(podName);
  return set ? { kind: 'DaemonSet', name: set[1]! } : { kind: 'Pod', name: podName };
}
