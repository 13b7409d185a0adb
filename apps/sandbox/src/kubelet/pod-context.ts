// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import type { EventRecorder, KubeClient, Pod } from '@cilium-ts/kube';
import type { SandboxNode } from '../cluster/node.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { CniConfig, CniRunner } from './cni.ts';
import type { ObjectLookup } from './environment.ts';

/** What one node's kubelet gives to all its pods. */
export interface KubeletContext {
  readonly client: KubeClient;
  readonly runtime: Runtime;
  readonly node: SandboxNode;
  readonly cni: { readonly config: CniConfig; readonly runner: CniRunner };
  readonly lookup: ObjectLookup;
  readonly recorder: EventRecorder;
  readonly log: Logger;
  readonly settings: KubeletSettings;
}

export interface KubeletSettings {
  readonly clusterDns: string;
  /** Address of the API server for pods (KUBERNETES_SERVICE_HOST). */
  readonly apiService: { readonly host: string; readonly port: string };
  /** Folder of image layers. */
  readonly images: string;
  readonly allowedHostPaths: readonly string[];
  /** Folders of the machine that containers see empty. */
  readonly hidden: readonly string[];
  /** Prefix of pod network namespaces. */
  readonly netnsPrefix: string;
  /** resolv.conf of the machine. */
  readonly machineResolver: string;
  readonly nodes: readonly { readonly name: string; readonly address: string }[];
  /** Replaces the authority, and the token where none is issued, in service-account volumes. */
  readonly account?: { readonly ca: string; readonly token: string };
}

/** Records an event about a pod or one of its containers. */
export function podEvent(
  context: KubeletContext,
  about: { readonly pod: Pod; readonly container?: string },
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): void {
  const fieldPath = about.container === undefined ? undefined : `spec.containers{${about.container}}`;
  const subject = { ...about.pod, apiVersion: 'v1', kind: 'Pod' };
  context.recorder.event(subject, type, reason, message, fieldPath);
}
