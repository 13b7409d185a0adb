// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, OwnerReference, ResourceRef } from '@cilium-ts/kube';

/** What the collector keeps of every object of the cluster. */
export interface GraphNode {
  readonly uid: string;
  readonly ref: ResourceRef;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly owners: readonly OwnerReference[];
  readonly finalizers: readonly string[];
  readonly deleting: boolean;
}

/** All objects by uid, and who depends on whom. */
export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  /** Objects that name `uid` as an owner. */
  dependentsOf(uid: string): GraphNode[] {
    const found: GraphNode[] = [];
    for (const dependent of this.#dependents.get(uid) ?? []) {
      const node = this.#nodes.get(dependent);
      if (node) found.push(node);
    }
    return found;
  }

  set(ref: ResourceRef, object: KubeObject): GraphNode | undefined {
    const { uid, name, namespace, ownerReferences, finalizers, deletionTimestamp } = object.metadata;
    if (!uid) return undefined;
    this.#unlink(uid);
    const node: GraphNode = {
      uid,
      ref,
      namespace,
      name,
      owners: ownerReferences ?? [],
      finalizers: finalizers ?? [],
      deleting: deletionTimestamp !== undefined,
    };
    this.#nodes.set(uid, node);
    for (const owner of node.owners) {
      const dependents = this.#dependents.get(owner.uid);
      if (dependents) dependents.add(uid);
      else this.#dependents.set(owner.uid, new Set([uid]));
    }
    return node;
  }

  delete(uid: string): void {
    this.#unlink(uid);
    this.#nodes.delete(uid);
  }

  #unlink(uid: string): void {
    for (const owner of this.#nodes.get(uid)?.owners ?? []) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
    }
  }
}
