// SPDX-License-Identifier: Apache-2.0
// Other ways to write the same policies, for laws that say it makes no difference.
import type { PolicyObject } from '@cilium-ts/policy-oracle';

type Json = Record<string, unknown>;
const LISTS = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const;

function rulesOf(object: PolicyObject): Json[] {
  return [...(object.spec ? [object.spec] : []), ...(object.specs ?? [])] as Json[];
}

function isOrdered({ kind }: PolicyObject): boolean {
  return kind === 'ClusterNetworkPolicy';
}

/** The objects, and the items of every list whose order means nothing, backwards. */
export function reversed(objects: readonly PolicyObject[]): PolicyObject[] {
  const turn = (rule: Json): Json =>
    Object.fromEntries(
      Object.entries(rule).map(([key, value]) => [key, Array.isArray(value) ? value.toReversed() : value]),
    );
  return objects.toReversed().map((object) => {
    if (isOrdered(object)) return object;
    return {
      ...object,
      ...(object.spec ? { spec: turn(object.spec as Json) } : {}),
      ...(object.specs ? { specs: object.specs.toReversed().map((rule) => turn(rule as Json)) } : {}),
    };
  });
}

export function renamed(objects: readonly PolicyObject[], name: (old: string) => string): PolicyObject[] {
  return objects.map((object) => ({
    ...object,
    metadata: { ...object.metadata, name: name(object.metadata.name) },
  }));
}

/** Every item an object of its own. */
export function split(objects: readonly PolicyObject[]): PolicyObject[] {
  let count = 0;
  return objects.flatMap((object) => {
    if (isOrdered(object)) return [object];
    const parts = rulesOf(object).flatMap((rule) =>
      object.kind === 'NetworkPolicy' ? splitKubernetes(rule) : splitCilium(rule),
    );
    return parts.map((spec) => {
      const { specs: _, ...rest } = object;
      return { ...rest, metadata: { ...object.metadata, name: `split-${count++}` }, spec };
    });
  });
}

function splitCilium(rule: Json): Json[] {
  const common = Object.fromEntries(
    Object.entries(rule).filter(([key]) => !(LISTS as readonly string[]).includes(key)),
  );
  return LISTS.flatMap((list) =>
    ((rule[list] ?? []) as unknown[]).map((item) => ({ ...common, [list]: [item] })),
  );
}

function splitKubernetes(rule: Json): Json[] {
  const { podSelector } = rule;
  return (rule['policyTypes'] as string[]).flatMap((type) => {
    const key = type.toLowerCase();
    const items = (rule[key] ?? []) as unknown[];
    const each = items.length > 0 ? items.map((item) => [item]) : [[]];
    return each.map((list) => ({ podSelector, policyTypes: [type], [key]: list }));
  });
}

interface Port {
  readonly port?: string;
  readonly endPort?: number;
}

/** Every numeric range of Cilium's rules replaced: by what `write` makes of its first and last port. */
export function withRanges(
  objects: readonly PolicyObject[],
  write: (port: Port, first: number, last: number) => Port[],
): PolicyObject[] {
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) {
      return value.flatMap((each: unknown) => {
        const { port, endPort } = (each ?? {}) as Port;
        if (typeof port !== 'string' || typeof endPort !== 'number') return [visit(each)];
        return write(each as Port, Number(port), endPort);
      });
    }
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, visit(inner)]));
  };
  return objects.map((object) => (isOrdered(object) ? object : (visit(object) as PolicyObject)));
}
