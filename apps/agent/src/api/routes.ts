// SPDX-License-Identifier: Apache-2.0
import {
  CniCallSchema,
  ConfigSchema,
  EndpointConfigSchema,
  EndpointSchema,
  IdentitySchema,
  IdentityUseSchema,
  IpSchema,
  MapSchema,
  MetricSchema,
  NodeSchema,
  PolicySchema,
  SelectorSchema,
  ServiceSchema,
  StatusSchema,
  type CniCallModel,
  type EndpointConfigModel,
} from '@cilium-ts/agent-api';
import { AppError } from '@cilium-ts/base';
import { Type } from 'typebox';
import type { EndpointRow } from '../rows.ts';
import { endpointHealth, endpointModel } from './endpoint-model.ts';
import { identityModel } from './endpoint-model.ts';
import type { ApiServices } from './services.ts';
import { ApiError, RawAnswer, type Route } from './server.ts';
import { parseMetrics } from './metric-text.ts';
import { serviceModel } from './service-model.ts';

const list = (schema: object): object => ({ type: 'array', items: schema });

/** By id, `pod-name:ns:name`, `container-id:`, `cni-attachment-id:`, `cep-name:ns/name`, `ipv4:`, `ipv6:`. */
export function findEndpoint(services: ApiServices, text: string): EndpointRow {
  const { endpoints } = services.tables;
  const rows = [...endpoints.values()];
  const [prefix, rest] = [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)];
  const by: Record<string, (row: EndpointRow) => boolean> = {
    'cilium-local': (row) => String(row.id) === rest,
    'container-id': (row) => row.containerId === rest,
    'cni-attachment-id': (row) => `${row.containerId}:${row.interfaceName}` === rest,
    'pod-name': (row) =>
      `${row.namespace}:${row.podName}` === rest || `${row.namespace}/${row.podName}` === rest,
    'cep-name': (row) => `${row.namespace}/${row.podName}` === rest,
    ipv4: (row) => row.ipv4 === rest,
    ipv6: (row) => row.ipv6 === rest,
  };
  if (!text.includes(':')) {
    if (!/^\d+$/.test(text))
      throw new ApiError(400, 'bad-endpoint-id', `not an endpoint id: ${JSON.stringify(text)}`);
    const row = endpoints.get(String(Number(text)));
    if (row) return row;
  } else {
    const matches = by[prefix];
    if (!matches)
      throw new ApiError(
        400,
        'bad-endpoint-id',
        `unknown prefix ${prefix}; use ${Object.keys(by).join(', ')}`,
      );
    const row = rows.find(matches);
    if (row) return row;
  }
  throw new ApiError(404, 'endpoint-not-found', `no endpoint ${text} on this node`);
}

function endpointRoutes(services: ApiServices): Route[] {
  const model = (row: EndpointRow) => endpointModel(row, services.factsOf(row));
  return [
    {
      method: 'GET',
      path: '/v1/endpoint',
      summary: 'all endpoints of this node',
      answer: list(EndpointSchema),
      handle: ({ query }) => {
        const wanted = (query['labels'] ?? '').split(',').filter((label) => label !== '');
        const rows = [...services.tables.endpoints.values()].sort((a, b) => a.id - b.id);
        return rows.filter((row) => wanted.every((label) => row.labels.includes(label))).map(model);
      },
    },
    {
      method: 'GET',
      path: '/v1/endpoint/:id',
      summary: 'one endpoint',
      answer: EndpointSchema,
      handle: ({ params }) => model(findEndpoint(services, params['id']!)),
    },
    {
      method: 'GET',
      path: '/v1/endpoint/:id/healthz',
      summary: 'health of one endpoint',
      handle: ({ params }) => endpointHealth(findEndpoint(services, params['id']!)),
    },
    {
      method: 'GET',
      path: '/v1/endpoint/:id/log',
      summary: 'what happened to one endpoint, newest first',
      handle: ({ params }) => [...findEndpoint(services, params['id']!).log].reverse(),
    },
    {
      method: 'PATCH',
      path: '/v1/endpoint/:id/config',
      summary: 'changes options of one endpoint',
      body: EndpointConfigSchema,
      answer: EndpointSchema,
      handle: async ({ params, body }) => {
        const { id } = findEndpoint(services, params['id']!);
        await services.setAudit(id, readAudit((body as EndpointConfigModel).options));
        return model(findEndpoint(services, String(id)));
      },
    },
  ];
}

const AUDIT_VALUES: ReadonlyMap<string, boolean> = new Map([
  ['enabled', true],
  ['true', true],
  ['disabled', false],
  ['false', false],
]);

/** The one option that can be changed. @throws ApiError with the names and values that there are */
function readAudit(options: EndpointConfigModel['options']): boolean {
  const unknown = Object.keys(options).find((name) => name !== 'PolicyAuditMode');
  if (unknown !== undefined)
    throw new ApiError(400, 'bad-option', `option ${unknown} cannot be changed; only PolicyAuditMode can`);
  const text = options['PolicyAuditMode'] ?? '';
  const audit = AUDIT_VALUES.get(text.toLowerCase());
  if (audit !== undefined) return audit;
  throw new ApiError(
    400,
    'bad-option',
    `PolicyAuditMode has value ${JSON.stringify(text)}; allowed: Enabled, Disabled`,
  );
}

function identityRoutes(services: ApiServices): Route[] {
  const { identities, endpoints } = services.tables;
  const all = () => [
    ...[...identities.values()].map((row) => identityModel(row.id, row.labels)),
    ...services.cidrIdentities().map(({ identity, labels }) => identityModel(identity, labels)),
  ];
  return [
    {
      method: 'GET',
      path: '/v1/identity',
      summary: 'all identities of the cluster, and of the prefixes that policy names',
      answer: list(IdentitySchema),
      handle: () => all().sort((a, b) => a.id - b.id),
    },
    {
      method: 'GET',
      path: '/v1/identity/endpoints',
      summary: 'identities in use on this node',
      answer: list(IdentityUseSchema),
      handle: () => {
        const uses = new Map<number, number>();
        for (const row of endpoints.values()) uses.set(row.identity, (uses.get(row.identity) ?? 0) + 1);
        const used = all().filter((identity) => uses.has(identity.id));
        return used.map((identity) => ({ identity, refCount: uses.get(identity.id)! }));
      },
    },
    {
      method: 'GET',
      path: '/v1/identity/:id',
      summary: 'one identity',
      answer: IdentitySchema,
      handle: ({ params }) => {
        const found = all().find((identity) => identity.id === Number(params['id']));
        if (!found) throw new ApiError(404, 'identity-not-found', `no identity ${params['id']}`);
        return found;
      },
    },
  ];
}

function serviceRoutes(services: ApiServices): Route[] {
  const table = services.tables.services;
  return [
    {
      method: 'GET',
      path: '/v1/service',
      summary: 'service frontends and their backends',
      answer: list(ServiceSchema),
      handle: () => [...table.values()].sort((a, b) => a.id - b.id).map(serviceModel),
    },
    {
      method: 'GET',
      path: '/v1/service/:id',
      summary: 'one service frontend',
      answer: ServiceSchema,
      handle: ({ params }) => {
        const row = table.find('id', params['id']!)[0];
        if (!row) throw new ApiError(404, 'service-not-found', `no service ${params['id']}`);
        return serviceModel(row);
      },
    },
  ];
}

function stateRoutes(services: ApiServices): Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/healthz',
      summary: 'status of the agent and its parts',
      answer: StatusSchema,
      handle: () => services.status(),
    },
    {
      method: 'GET',
      path: '/v1/policy',
      summary: 'policy rules',
      answer: PolicySchema,
      handle: () => services.policy(),
    },
    {
      method: 'GET',
      path: '/v1/policy/selectors',
      summary: 'who is selected by what',
      answer: list(SelectorSchema),
      handle: () => services.selectors(),
    },
    {
      method: 'POST',
      path: '/v1/policy/explain',
      summary: 'why a flow passes or not',
      body: Type.Record(Type.String(), Type.String()),
      handle: async ({ body }) => {
        try {
          return await services.explain(body as Record<string, string>);
        } catch (error) {
          if (error instanceof AppError) throw new ApiError(400, error.code, error.message);
          throw error;
        }
      },
    },
    {
      method: 'GET',
      path: '/v1/ip',
      summary: 'addresses and identities',
      answer: list(IpSchema),
      handle: () => services.ips(),
    },
    {
      method: 'GET',
      path: '/v1/map',
      summary: 'BPF maps',
      answer: list(MapSchema),
      handle: () => services.maps(),
    },
    {
      method: 'GET',
      path: '/v1/config',
      summary: 'configuration',
      answer: ConfigSchema,
      handle: () => services.config(),
    },
    {
      method: 'GET',
      path: '/v1/cluster/nodes',
      summary: 'nodes of the cluster',
      answer: list(NodeSchema),
      handle: () =>
        [...services.tables.nodes.values()].map((node) => ({
          name: node.name,
          addresses: [...node.internalIps],
          'pod-cidrs': [...node.podCidrs],
          source: node.local ? 'local' : 'custom-resource',
          local: node.local,
        })),
    },
    {
      method: 'GET',
      path: '/v1/metrics',
      summary: 'metrics of the agent',
      answer: list(MetricSchema),
      handle: async () => parseMetrics(await services.metricsText()),
    },
  ];
}

export function apiRoutes(services: ApiServices): Route[] {
  return [
    ...endpointRoutes(services),
    ...identityRoutes(services),
    ...serviceRoutes(services),
    ...stateRoutes(services),
    {
      method: 'POST',
      path: '/v1/cni',
      summary: 'a call of the CNI binary',
      body: CniCallSchema,
      answer: Type.Object({}),
      handle: async ({ body }) => {
        const { status, body: text } = await services.cni(body as CniCallModel);
        return new RawAnswer(status, 'application/json', text);
      },
    },
  ];
}
