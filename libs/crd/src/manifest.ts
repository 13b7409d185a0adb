// SPDX-License-Identifier: Apache-2.0
import { CILIUM_GROUP, type KindDefinition } from './kinds.ts';
import { text, type JsonSchema } from './schema.ts';

/** The CustomResourceDefinition object of a kind, ready for the API server. */
export function crdManifest(kind: KindDefinition): object {
  const group = kind.group ?? CILIUM_GROUP;
  const { annotations } = kind;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${group}`, ...(annotations ? { annotations } : {}) },
    spec: {
      group,
      names: {
        ...(group === CILIUM_GROUP ? { categories: ['cilium'] } : {}),
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        shortNames: kind.shortNames,
        singular: kind.singular,
      },
      scope: kind.namespaced ? 'Namespaced' : 'Cluster',
      versions: kind.versions.map((name, index) => version(kind, name, index === 0)),
    },
  };
}

function version(kind: KindDefinition, name: string, storage: boolean): object {
  const schema: JsonSchema = {
    type: 'object',
    properties: { apiVersion: text, kind: text, metadata: { type: 'object' }, ...kind.schema },
    required: [...kind.required],
  };
  return {
    name,
    served: true,
    storage,
    additionalPrinterColumns: kind.columns,
    schema: { openAPIV3Schema: schema },
    ...(kind.statusSubresource ? { subresources: { status: {} } } : {}),
  };
}

/** Name of the chart's file for a kind. */
export function crdFileName(kind: KindDefinition): string {
  return `${kind.group ?? CILIUM_GROUP}_${kind.plural}.yaml`;
}
