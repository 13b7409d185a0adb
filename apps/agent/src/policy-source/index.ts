// SPDX-License-Identifier: Apache-2.0
export { NatsPolicySource, type NatsPolicySourceOptions } from './nats.ts';
export { EmbeddedPolicySource, type EmbeddedPolicySourceOptions } from './embedded.ts';
