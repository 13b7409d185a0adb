// SPDX-License-Identifier: Apache-2.0
import { apiVersionOf, type Resource } from './model.ts';

/** Which resources are served, by group, version and plural. Custom resources come and go. */
export class Registry {
  private readonly byPath = new Map<string, Resource>();
  /** Rises with each change; caches of discovery and OpenAPI compare it. */
  generation = 0;

  add(resource: Resource): void {
    this.byPath.set(`${apiVersionOf(resource)}/${resource.plural}`, resource);
    this.generation++;
  }

  remove(resource: Resource): void {
    this.byPath.delete(`${apiVersionOf(resource)}/${resource.plural}`);
    this.generation++;
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.byPath.get(`${apiVersionOf({ group, version })}/${plural}`);
  }

  findKind(apiVersion: string, kind: string): Resource | undefined {
    return this.all().find((resource) => resource.kind === kind && apiVersionOf(resource) === apiVersion);
  }

  all(): Resource[] {
    return [...this.byPath.values()];
  }

  /** Groups with their versions, most preferred first; the core group ('') is first of all. */
  groups(): Map<string, string[]> {
    const groups = new Map<string, string[]>();
    for (const { group, version } of this.byPath.values()) {
      const versions = groups.get(group) ?? [];
      if (!versions.includes(version)) versions.push(version);
      groups.set(group, versions);
    }
    for (const versions of groups.values()) versions.sort(compareVersions);
    return groups;
  }

  inVersion(group: string, version: string): Resource[] {
    return this.all().filter((resource) => resource.group === group && resource.version === version);
  }

  /** All versions that share one storage. */
  siblings(storage: string): Resource[] {
    return this.all().filter((resource) => resource.storage === storage);
  }
}

/** Kubernetes' order of versions: v2 before v1 before v1beta2 before v1alpha1 before anything else. */
export function compareVersions(a: string, b: string): number {
  const rank = (version: string): number[] => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (!match) return [0, 0, 0];
    const stage = match[2] === undefined ? 3 : match[2] === 'beta' ? 2 : 1;
    return [stage, Number(match[1]), Number(match[3] ?? 0)];
  };
  const [left, right] = [rank(a), rank(b)];
  for (let index = 0; index < 3; index++) {
    const difference = right[index]! - left[index]!;
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}
