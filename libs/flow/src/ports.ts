// SPDX-License-Identifier: Apache-2.0
// What the decoder asks of the node it runs on. The agent answers from its tables, tests from literals.
import type { Direction, Origin, RuleSet } from '@cilium-ts/policy';

/** A pod, or any other address somebody knows by name. */
export interface FlowEndpoint {
  /** Node-local endpoint number; 0 where it lives on another node. */
  readonly id: number;
  readonly identity: number;
  readonly namespace: string;
  readonly podName: string;
  readonly labels: readonly string[];
}

export interface FlowService {
  readonly namespace: string;
  readonly name: string;
}

/** What decided a packet: an entry's origin, or the policies that put the endpoint into default deny. */
export type FlowDecision =
  | { readonly kind: 'origin'; readonly origin: Origin; readonly verdict?: 'allow' | 'deny' | 'unenforced' }
  | {
      readonly kind: 'default-deny';
      readonly isolatedBy: readonly Origin[];
      /** Where the nearest miss is looked for. */
      readonly ruleSet?: RuleSet;
    };

export interface FlowLookups {
  /** `node1`, or `cluster/node1` in a cluster that is not called `default`. */
  readonly nodeName: string;
  readonly clusterName: string;
  readonly version: string;
  endpointByAddress(address: string): FlowEndpoint | undefined;
  identityLabels(identity: number): readonly string[];
  serviceByAddress(address: string, port: number, protocol: number): FlowService | undefined;
  originOf(ruleSet: number, origin: number, direction: Direction): FlowDecision | undefined;
  /** Empty where unknown. */
  interfaceName(ifindex: number): string;
  /** Nanoseconds between the kernel's monotonic clock and Unix time. */
  clockOffset(): bigint;
}

/** Batches of ring records, as libs/bpf hands them over; the bytes may be kept. */
export interface FlowEventBatch {
  forEach(use: (bytes: Uint8Array, offset: number, length: number) => void): void;
}

export interface EventSource {
  /** Returns the end of the subscription. */
  subscribe(listener: (batch: FlowEventBatch) => void): () => void;
  /** Events that the datapath counted but this process never saw. */
  readonly lost: number;
}
