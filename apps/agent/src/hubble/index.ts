// SPDX-License-Identifier: Apache-2.0
export { startHubble, type Hubble, type HubbleConfig, type HubblePorts } from './start.ts';
export { agentLookups, type LookupPorts } from './lookups.ts';
