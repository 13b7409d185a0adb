// SPDX-License-Identifier: Apache-2.0
import type { Dict, Resource } from './model.ts';
import type { Registry } from './registry.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

interface Subresource {
  readonly verbs: readonly string[];
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
}

const SUBRESOURCES: Readonly<Record<string, Subresource>> = {
  scale: { verbs: ['get', 'patch', 'update'], kind: 'Scale', group: 'autoscaling', version: 'v1' },
  binding: { verbs: ['create'], kind: 'Binding' },
  eviction: { verbs: ['create'], kind: 'Eviction', group: 'policy', version: 'v1' },
  token: { verbs: ['create'], kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1' },
  exec: { verbs: ['create', 'get'], kind: 'PodExecOptions' },
  attach: { verbs: ['create', 'get'], kind: 'PodAttachOptions' },
  portforward: { verbs: ['create', 'get'], kind: 'PodPortForwardOptions' },
  log: { verbs: ['get'], kind: 'Pod' },
  finalize: { verbs: ['update'], kind: 'Namespace' },
};

function subresource(resource: Resource, name: string): Subresource {
  return SUBRESOURCES[name] ?? { verbs: ['get', 'patch', 'update'], kind: resource.kind };
}

const verbsOf = (resource: Resource): readonly string[] => (resource.transient ? ['create'] : VERBS);

/** `/api/v1`, `/apis/apps/v1`. */
export function resourceList(registry: Registry, group: string, version: string): Dict | null {
  const resources = registry.inVersion(group, version);
  if (resources.length === 0) return null;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group ? `${group}/${version}` : version,
    resources: resources.flatMap((resource) => [
      {
        name: resource.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: resource.kind,
        verbs: verbsOf(resource),
        ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
        ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
      },
      ...resource.subresources.map((name) => ({
        name: `${resource.plural}/${name}`,
        singularName: '',
        namespaced: resource.namespaced,
        ...subresource(resource, name),
      })),
    ]),
  };
}

/** One entry of `/apis`. */
export function groupEntry(registry: Registry, group: string): Dict | null {
  const versions = registry.groups().get(group);
  if (!versions) return null;
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { kind: 'APIGroup', apiVersion: 'v1', name: group, versions: entries, preferredVersion: entries[0] };
}

/** `/apis`. */
export function groupList(registry: Registry): Dict {
  const groups = [...registry.groups().keys()].filter((group) => group !== '');
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: groups.map((group) => {
      const { kind: _kind, apiVersion: _version, ...entry } = groupEntry(registry, group)!;
      return entry;
    }),
  };
}

function aggregatedResource(resource: Resource): Dict {
  const { group, version, kind } = resource;
  return {
    resource: resource.plural,
    responseKind: { group, version, kind },
    scope: resource.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: verbsOf(resource),
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(resource.subresources.length > 0
      ? {
          subresources: resource.subresources.map((name) => {
            const sub = subresource(resource, name);
            const responseKind = {
              group: sub.group ?? group,
              version: sub.version ?? version,
              kind: sub.kind,
            };
            return { subresource: name, responseKind, verbs: sub.verbs };
          }),
        }
      : {}),
  };
}

/** Aggregated discovery (v2) of the core group or of all named groups. */
export function aggregated(registry: Registry, core: boolean): Dict {
  const groups = [...registry.groups()].filter(([group]) => (group === '') === core);
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versions.map((version) => ({
        version,
        freshness: 'Current',
        resources: registry.inVersion(group, version).map(aggregatedResource),
      })),
    })),
  };
}

export const VERSION = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.4-cilium-ts',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: '',
  compiler: 'node',
  platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
};
