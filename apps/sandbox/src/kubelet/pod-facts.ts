// SPDX-License-Identifier: Apache-2.0
import type { Pod } from '@cilium-ts/kube';

/** Thrown for a configuration that may become right later (a ConfigMap that is missing). */
export class ContainerConfigError extends Error {}

export interface PodFacts {
  readonly pod: Pod;
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
}
