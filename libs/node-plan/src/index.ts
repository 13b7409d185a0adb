// SPDX-License-Identifier: Apache-2.0
export { gatewayOf } from './gateway.ts';
export { planNodeRoutes, type NodeAddressing, type PlannedRoute } from './routes.ts';
