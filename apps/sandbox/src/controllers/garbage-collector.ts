// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  Reflector,
  isNotFound,
  resourcePath,
  type KubeObject,
  type OwnerReference,
  type ResourceRef,
} from '@cilium-ts/kube';
import { createQueue, ignoreMissing, type Context, type Controller } from './context.ts';
import { discoverResources } from './discovery.ts';
import { OwnerGraph, type GraphNode } from './owner-graph.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';
/** Kinds that come in masses and are never owned. */
const IGNORED = new Set(['events']);

/** Deletes objects whose owners are gone, and carries out foreground and orphaning deletion. */
export function garbageCollector(context: Context): Controller {
  return new GarbageCollector(context);
}

class GarbageCollector implements Controller {
  readonly #context: Context;
  readonly #graph = new OwnerGraph();
  readonly #watches = new Map<string, { ref: ResourceRef; reflector: Reflector<KubeObject> }>();
  readonly #queue;
  #stopped = false;
  #discovering: Promise<void> | undefined;
  #again = false;

  constructor(context: Context) {
    this.#context = context;
    this.#queue = createQueue(context, 'garbage', (uid) => this.#sync(uid), 8);
  }

  start(): void {
    this.#discover();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([
      this.#queue.stop(),
      ...[...this.#watches.values()].map(({ reflector }) => reflector.stop()),
    ]);
  }

  /** Watches every kind that can be listed and deleted; again after each change of a CRD. */
  #discover(): void {
    this.#again = true;
    this.#discovering ??= this.#discoverAll().finally(() => {
      this.#discovering = undefined;
      if (this.#again && !this.#stopped) setTimeout(() => this.#discover(), 1000).unref();
    });
  }

  async #discoverAll(): Promise<void> {
    this.#again = false;
    try {
      const found = await discoverResources(this.#context.client);
      const names = new Set<string>();
      for (const { ref, verbs } of found) {
        const name = resourcePath(ref);
        const usable = ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb));
        if (!usable || (ref.group === '' && IGNORED.has(ref.plural))) continue;
        names.add(name);
        if (!this.#watches.has(name) && !this.#stopped) this.#watch(name, ref);
      }
      for (const [name, { reflector }] of this.#watches) {
        if (names.has(name)) continue;
        this.#watches.delete(name);
        for (const object of reflector.store.list()) this.#gone(object);
        await reflector.stop();
      }
    } catch (error) {
      this.#again = true;
      this.#context.log.debug({ error: errorMessage(error) }, 'garbage collector: discovery failed');
    }
  }

  #watch(name: string, ref: ResourceRef): void {
    const reflector = new Reflector<KubeObject>({
      client: this.#context.client,
      resource: ref,
      log: this.#context.log,
      transform: onlyOwnership,
    });
    const isDefinition = ref.plural === CUSTOM_RESOURCE_DEFINITIONS.plural;
    const changed = (object: KubeObject): void => {
      const node = this.#graph.set(ref, object);
      if (node && (node.owners.length > 0 || node.deleting)) this.#queue.add(node.uid);
      if (node?.deleting) for (const owner of node.owners) this.#queue.add(owner.uid);
      if (isDefinition) setTimeout(() => this.#discover(), 200).unref();
    };
    reflector.subscribe({
      onAdd: changed,
      onUpdate: (_old, object) => changed(object),
      onDelete: (object) => {
        this.#gone(object);
        if (isDefinition) this.#discover();
      },
    });
    this.#watches.set(name, { ref, reflector });
    reflector.start();
  }

  #gone(object: KubeObject): void {
    const { uid } = object.metadata;
    if (!uid) return;
    const owners = this.#graph.get(uid)?.owners ?? [];
    this.#graph.delete(uid);
    for (const dependent of this.#graph.dependentsOf(uid)) this.#queue.add(dependent.uid);
    // A foreground deletion may have waited for this one.
    for (const owner of owners) this.#queue.add(owner.uid);
  }

  async #sync(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (!node) return;
    if (node.deleting && node.finalizers.includes(ORPHAN)) return this.#orphan(node);
    if (node.deleting && node.finalizers.includes(FOREGROUND)) return this.#foreground(node);
    if (node.deleting || node.owners.length === 0) return;
    const states = await Promise.all(node.owners.map((owner) => this.#ownerState(node, owner)));
    const living = node.owners.filter((_, i) => states[i] === 'living');
    const waiting = node.owners.filter((_, i) => states[i] === 'foreground');
    if (living.length > 0) {
      if (living.length < node.owners.length) await this.#setOwners(node, living);
      return;
    }
    const propagationPolicy = waiting.length > 0 ? 'Foreground' : 'Background';
    const options = { propagationPolicy, preconditions: { uid: node.uid } } as const;
    await ignoreMissing(this.#context.client.delete(node.ref, node, options));
  }

  /** An owner that is not in the mirror is looked up: the mirror may be young, or the kind unknown to it. */
  async #ownerState(node: GraphNode, owner: OwnerReference): Promise<'living' | 'foreground' | 'gone'> {
    const known = this.#graph.get(owner.uid);
    if (known) {
      const foreground = known.deleting && known.finalizers.includes(FOREGROUND);
      return foreground && owner.blockOwnerDeletion ? 'foreground' : 'living';
    }
    const kind = [...this.#watches.values()].find(
      ({ ref }) => ref.kind === owner.kind && ref.group === groupOf(owner.apiVersion),
    );
    if (!kind) return 'living'; // cannot be judged: keep
    const namespace = kind.ref.namespaced ? node.namespace : undefined;
    try {
      const found = await this.#context.client.get(kind.ref, { namespace, name: owner.name });
      return found.metadata.uid === owner.uid ? 'living' : 'gone';
    } catch (error) {
      if (isNotFound(error)) return 'gone';
      throw error;
    }
  }

  /** Deletes what blocks the owner; with nothing left lets the owner go. */
  async #foreground(node: GraphNode): Promise<void> {
    const dependents = this.#graph.dependentsOf(node.uid);
    const blocking = dependents.filter(({ owners }) =>
      owners.some((owner) => owner.uid === node.uid && owner.blockOwnerDeletion),
    );
    for (const dependent of dependents) if (!dependent.deleting) this.#queue.add(dependent.uid);
    if (blocking.length === 0) await this.#removeFinalizer(node, FOREGROUND);
  }

  async #orphan(node: GraphNode): Promise<void> {
    for (const dependent of this.#graph.dependentsOf(node.uid)) {
      const rest = dependent.owners.filter((owner) => owner.uid !== node.uid);
      await this.#setOwners(dependent, rest);
    }
    await this.#removeFinalizer(node, ORPHAN);
  }

  async #setOwners(node: GraphNode, ownerReferences: readonly OwnerReference[]): Promise<void> {
    const patch = { metadata: { uid: node.uid, ownerReferences } };
    await ignoreMissing(this.#context.client.patch(node.ref, node, 'merge', patch));
  }

  async #removeFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    const object = await this.#context.client.find(node.ref, node);
    if (!object || object.metadata.uid !== node.uid) return;
    const finalizers = (object.metadata.finalizers ?? []).filter((one) => one !== finalizer);
    const { resourceVersion } = object.metadata;
    const patch = { metadata: { uid: node.uid, resourceVersion, finalizers } };
    await ignoreMissing(this.#context.client.patch(node.ref, node, 'merge', patch));
  }
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

function onlyOwnership(object: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } =
    object.metadata;
  return {
    metadata: { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp },
  };
}
