// SPDX-License-Identifier: Apache-2.0
import { age } from './ages.ts';
import { jsonEqual, timestamp, type Column, type Dict, type KubeObject, type Resource } from './model.ts';
import type { Objects } from './objects.ts';

/** Follows CustomResourceDefinitions: each served version is a live resource at once. */
export class CustomResources {
  private readonly objects: Objects;
  private readonly added = new Map<string, Resource[]>();

  constructor(objects: Objects) {
    this.objects = objects;
    objects.afterWrite.set(CRDS, (definition, removed) =>
      removed ? this.drop(definition) : this.establish(definition),
    );
  }

  private establish(definition: KubeObject): void {
    const { registry } = this.objects;
    for (const resource of this.added.get(definition.metadata.name) ?? []) registry.remove(resource);
    const resources = customResources(definition);
    for (const resource of resources) registry.add(resource);
    this.added.set(definition.metadata.name, resources);
    if (definition.metadata.deletionTimestamp) return;
    const status = establishedStatus(definition);
    if (!jsonEqual(status, definition.status))
      this.objects.store.put(CRDS, { ...definition, metadata: { ...definition.metadata }, status });
  }

  private drop(definition: KubeObject): void {
    const resources = this.added.get(definition.metadata.name) ?? [];
    this.added.delete(definition.metadata.name);
    const first = resources[0];
    if (first)
      for (const object of this.objects.store.list(first.storage)) this.objects.remove(first, object);
    for (const resource of resources) this.objects.registry.remove(resource);
  }
}

const CRDS = 'apiextensions.k8s.io/customresourcedefinitions';

function establishedStatus(definition: KubeObject): Dict {
  const old = (definition.status?.conditions ?? []) as Dict[];
  const condition = (type: string, reason: string, message: string): Dict =>
    old.find((known) => known.type === type) ?? {
      type,
      status: 'True',
      reason,
      message,
      lastTransitionTime: timestamp(),
    };
  const names = definition.spec.names as Dict;
  return {
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    acceptedNames: {
      ...names,
      listKind: names.listKind ?? `${names.kind}List`,
      singular: names.singular ?? String(names.kind).toLowerCase(),
    },
    storedVersions: (definition.spec.versions as Dict[])
      .filter((version) => version.storage)
      .map((version) => version.name as string),
  };
}

function customResources(definition: KubeObject): Resource[] {
  const { group, names, versions, scope } = definition.spec as Dict;
  return (versions as Dict[])
    .filter((version) => version.served)
    .map((version) => {
      const scale = version.subresources?.scale as Dict | undefined;
      return {
        group: group as string,
        version: version.name as string,
        kind: names.kind as string,
        plural: names.plural as string,
        singular: (names.singular as string) ?? String(names.kind).toLowerCase(),
        shortNames: (names.shortNames ?? []) as string[],
        categories: (names.categories ?? []) as string[],
        namespaced: scope === 'Namespaced',
        subresources: Object.keys((version.subresources ?? {}) as Dict),
        schema: (version.schema?.openAPIV3Schema ?? {
          type: 'object',
          'x-kubernetes-preserve-unknown-fields': true,
        }) as Dict,
        columns: customColumns((version.additionalPrinterColumns ?? []) as Dict[]),
        storage: `${group}/${names.plural}`,
        ...(scale
          ? {
              scalePaths: {
                spec: scale.specReplicasPath,
                status: scale.statusReplicasPath,
                selector: scale.labelSelectorPath,
              },
            }
          : {}),
      };
    });
}

const NAME: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  priority: 0,
  cell: (o) => o.metadata.name,
};
const AGE: Column = {
  name: 'Age',
  type: 'date',
  priority: 0,
  cell: (o) => age(o.metadata.creationTimestamp),
};

function customColumns(given: readonly Dict[]): Column[] {
  if (given.length === 0) return [NAME, AGE];
  return [NAME, ...given.map(customColumn)];
}

function customColumn(column: Dict): Column {
  const read = compilePath(column.jsonPath as string);
  const type = column.type as Column['type'];
  return {
    name: column.name as string,
    type,
    priority: (column.priority ?? 0) as number,
    ...(column.format ? { format: column.format as string } : {}),
    ...(column.description ? { description: column.description as string } : {}),
    cell: (object) => {
      const value = read(object)[0];
      if (value === undefined || value === null) return type === 'date' ? '' : undefined;
      if (type === 'date') return age(value);
      if (type === 'integer' || type === 'number') return value;
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    },
  };
}

type Step = (values: unknown[]) => unknown[];

/** The part of JSONPath that printer columns use: fields, indexes, `[*]` and `[?(@.field=="value")]`. */
export function compilePath(path: string): (object: unknown) => unknown[] {
  const steps: Step[] = [];
  const token =
    /\.([\w\ue000-]+|\*)|\['((?:[^'\\]|\\.)*)'\]|\[(\d+|\*)\]|\[\?\(@\.([\w.-]+)\s*==\s*(?:"([^"]*)"|'([^']*)')\)\]/y;
  const text = path
    .replace(/^\{?\$?/, '')
    .replace(/\}$/, '')
    .replace(/\\\./g, '\ue000');
  for (let at = 0; at < text.length; at = token.lastIndex) {
    token.lastIndex = at;
    const match = token.exec(text);
    if (!match) return () => [];
    steps.push(pathStep(match));
  }
  return (object) => steps.reduce<unknown[]>((values, step) => step(values), [object]);
}

function pathStep(match: RegExpExecArray): Step {
  const [, plain, quoted, position, filterField, double, single] = match;
  if (filterField !== undefined) {
    const wanted = double ?? single;
    const inner = filterField.split('.');
    const read = (item: unknown): unknown =>
      inner.reduce<unknown>((value, key) => (value as Dict | undefined)?.[key], item);
    return (values) =>
      values.flatMap((value) =>
        Array.isArray(value) ? value.filter((item) => String(read(item)) === wanted) : [],
      );
  }
  const key = (plain ?? quoted ?? position!).replace(/\ue000/g, '.');
  if (key === '*')
    return (values) =>
      values.flatMap((value) => (value && typeof value === 'object' ? Object.values(value) : []));
  return (values) =>
    values.flatMap((value) => {
      const item = (value as Dict | undefined | null)?.[key] as unknown;
      return item === undefined ? [] : [item];
    });
}
