// SPDX-License-Identifier: Apache-2.0
import { agentMemory } from './agent-memory.ts';
import type { Bench } from './bench.ts';
import { podPacket } from './pod-packet.ts';
import { podStart } from './pod-start.ts';
import { podCrr, podRr } from './pod-tcp.ts';
import { policyChurn } from './policy-churn.ts';
import { policyCompile } from './policy-compile.ts';
import { policyLatency } from './policy-latency.ts';
import { policyScale } from './policy-scale.ts';
import { start } from './start.ts';

/** Every bench, in the order of the list. */
export const BENCHES: readonly Bench[] = [
  podRr,
  podCrr,
  podPacket,
  policyCompile,
  policyChurn,
  policyScale,
  policyLatency,
  podStart,
  start,
  agentMemory,
];
