// SPDX-License-Identifier: Apache-2.0
import type { Logger, Stoppable } from '@cilium-ts/base';
import {
  Reflector,
  byNamespace,
  type IndexFunction,
  type KubeClient,
  type KubeObject,
  type ReadonlyStore,
  type ReflectorHandler,
  type ResourceRef,
} from '@cilium-ts/kube';

export interface ViewOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly resource: ResourceRef<T>;
  readonly log: Logger;
  readonly indexers?: Readonly<Record<string, IndexFunction<T>>>;
  readonly fieldSelector?: string;
  readonly transform?: (object: T) => T | undefined;
}

/** How long a controller waits to see its own write before it looks at what there is. */
const OWN_WRITE_MS = 3000;

/** UIDs of an object's controlling owner; the index `owner` of every view. */
export function ownerIndex(object: KubeObject): readonly string[] {
  const owner = controllerOf(object);
  return owner ? [owner.uid] : [];
}

export function controllerOf(object: KubeObject): { kind: string; name: string; uid: string } | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

/**
 * A reflector whose readers can wait for their own writes. A controller that counts pods in a mirror must not count before
 * the pods it just made have arrived there, or it makes them twice.
 */
export class View<T extends KubeObject> implements Stoppable {
  readonly #reflector: Reflector<T>;
  readonly #waiting = new Set<() => void>();

  constructor(options: ViewOptions<T>) {
    this.#reflector = new Reflector({
      ...options,
      indexers: { owner: ownerIndex, namespace: byNamespace, ...options.indexers },
    });
    const wake = (): void => {
      for (const check of this.#waiting) check();
    };
    this.#reflector.subscribe({ onAdd: wake, onUpdate: wake, onDelete: wake });
  }

  get store(): ReadonlyStore<T> {
    return this.#reflector.store;
  }

  get synced(): Promise<void> {
    return this.#reflector.synced;
  }

  subscribe(handler: ReflectorHandler<T>): void {
    this.#reflector.subscribe(handler);
  }

  /** Calls `changed` for every addition, update and deletion. */
  onChange(changed: (object: T, old: T | undefined) => void): void {
    this.#reflector.subscribe({
      onAdd: (object) => changed(object, undefined),
      onUpdate: (old, object) => changed(object, old),
      onDelete: (object) => changed(object, undefined),
    });
  }

  ownedBy(uid: string | undefined): T[] {
    return uid === undefined ? [] : this.store.byIndex('owner', uid);
  }

  inNamespace(namespace: string | undefined): T[] {
    return this.store.byIndex('namespace', namespace ?? '');
  }

  /** Resolves when `done` holds for the mirror, or after a few seconds. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const check = (): void => {
        if (done()) finish();
      };
      const timer = setTimeout(finish, OWN_WRITE_MS);
      this.#waiting.add(check);
    });
  }

  start(): void {
    this.#reflector.start();
  }

  stop(): Promise<void> {
    return this.#reflector.stop();
  }
}
