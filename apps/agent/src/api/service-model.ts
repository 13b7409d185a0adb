// SPDX-License-Identifier: Apache-2.0
import type { ServiceModel } from '@cilium-ts/agent-api';
import { protocolName } from '@cilium-ts/net';
import type { ServiceRow } from '../rows.ts';

export function serviceModel(row: ServiceRow): ServiceModel {
  const protocol = protocolName(row.protocol);
  const spec: ServiceModel['spec'] = {
    id: row.id,
    'frontend-address': { ip: row.address, port: row.port, protocol, scope: 'external' },
    'backend-addresses': row.backends.map(({ address, port, node, state }) => ({
      ip: address,
      port,
      protocol,
      nodeName: node,
      state,
      weight: 100,
      preferred: false,
      zone: '',
    })),
    flags: {
      name: row.name,
      namespace: row.namespace,
      type: row.type,
      trafficPolicy: 'Cluster',
      extTrafficPolicy: 'Cluster',
      intTrafficPolicy: 'Cluster',
      natPolicy: 'None',
      healthCheckNodePort: 0,
      cluster: '',
    },
  };
  return { spec, status: { realized: spec } };
}
