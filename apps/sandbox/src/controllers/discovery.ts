// SPDX-License-Identifier: Apache-2.0
import { resource, type KubeClient, type ResourceRef, type UntypedObject } from '@cilium-ts/kube';

export interface DiscoveredResource {
  readonly ref: ResourceRef<UntypedObject>;
  readonly verbs: readonly string[];
}

interface GroupVersionResources {
  resources?: { name: string; kind: string; namespaced: boolean; verbs?: string[] }[];
}

/** Every kind of the server in its preferred version; subresources left out. @throws KubeError */
export async function discoverResources(client: KubeClient): Promise<DiscoveredResource[]> {
  const groups = await client.raw<{
    groups?: {
      name: string;
      preferredVersion?: { version: string };
      versions: { version: string }[];
    }[];
  }>('GET', '/apis');
  const wanted = [{ group: '', version: 'v1', path: '/api/v1' }];
  for (const { name, preferredVersion, versions } of groups.groups ?? []) {
    const version = preferredVersion?.version ?? versions[0]?.version;
    if (version) wanted.push({ group: name, version, path: `/apis/${name}/${version}` });
  }
  const found = await Promise.all(
    wanted.map(async ({ group, version, path }) => {
      const list = await client.raw<GroupVersionResources>('GET', path);
      return (list.resources ?? [])
        .filter(({ name }) => !name.includes('/'))
        .map(({ name, kind, namespaced, verbs }) => ({
          ref: resource(group, version, name, kind, namespaced),
          verbs: verbs ?? [],
        }));
    }),
  );
  return found.flat();
}
