// SPDX-License-Identifier: Apache-2.0
import type { Bench } from './bench.ts';
import { podPacket } from './pod-packet.ts';
import { podCrr, podRr } from './pod-tcp.ts';

/** Every bench, in the order of the list. */
export const BENCHES: readonly Bench[] = [podRr, podCrr, podPacket];
