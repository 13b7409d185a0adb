// SPDX-License-Identifier: Apache-2.0
import type { Logger } from '@cilium-ts/base';
import {
  CONFIG_MAPS,
  Reflector,
  SECRETS,
  SERVICES,
  byNamespace,
  type ConfigMap,
  type KubeClient,
  type Secret,
  type Service,
} from '@cilium-ts/kube';
import type { ObjectLookup } from './environment.ts';

/** ConfigMaps, Secrets and Services of the cluster, shared by the kubelets of all nodes. */
export class ObjectCache implements ObjectLookup {
  readonly #configMaps: Reflector<ConfigMap>;
  readonly #secrets: Reflector<Secret>;
  readonly #services: Reflector<Service>;
  readonly #listeners = new Set<(namespace: string) => void>();

  constructor(client: KubeClient, log: Logger) {
    const changed = (object: { metadata: { namespace?: string | undefined } }): void => {
      for (const listener of this.#listeners) listener(object.metadata.namespace ?? 'default');
    };
    const handler = {
      onAdd: changed,
      onUpdate: (_: unknown, object: ConfigMap | Secret) => changed(object),
      onDelete: changed,
    };
    this.#configMaps = new Reflector({ client, resource: CONFIG_MAPS, log });
    this.#secrets = new Reflector({ client, resource: SECRETS, log });
    this.#services = new Reflector({ client, resource: SERVICES, log, indexers: { namespace: byNamespace } });
    this.#configMaps.subscribe(handler);
    this.#secrets.subscribe(handler);
  }

  async start(): Promise<void> {
    const all = [this.#configMaps, this.#secrets, this.#services];
    for (const reflector of all) reflector.start();
    await Promise.all(all.map((reflector) => reflector.synced));
  }

  async stop(): Promise<void> {
    await Promise.all([this.#configMaps.stop(), this.#secrets.stop(), this.#services.stop()]);
  }

  /** Called with the namespace in which a ConfigMap or Secret changed. */
  onChange(listener: (namespace: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.#configMaps.store.getByName(namespace, name);
  }

  secret(namespace: string, name: string): Secret | undefined {
    return this.#secrets.store.getByName(namespace, name);
  }

  services(namespace: string): Service[] {
    return this.#services.store.byIndex('namespace', namespace);
  }
}
