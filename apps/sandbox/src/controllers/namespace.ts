// SPDX-License-Identifier: Apache-2.0
import {
  CONFIG_MAPS,
  SERVICE_ACCOUNTS,
  isAlreadyExists,
  isNotFound,
  type Namespace,
  type NewObject,
  type KubeObject,
  type ResourceRef,
} from '@cilium-ts/kube';
import { errorMessage } from '@cilium-ts/base';
import { createQueue, forEachLimited, type Context, type Controller } from './context.ts';
import { discoverResources, type DiscoveredResource } from './discovery.ts';

const ROOT_CA = 'kube-root-ca.crt';
/** Milliseconds between looks at a namespace whose objects take their time to end. */
const DRAIN_MS = 250;

/** Gives every namespace its `default` ServiceAccount and CA ConfigMap, and empties namespaces being deleted. */
export function namespaceController(context: Context): Controller {
  const queue = createQueue(context, 'namespace', (name) => syncNamespace(context, name), 8);
  return {
    start() {
      context.namespaces.onChange((namespace) => queue.add(namespace.metadata.name));
      context.pods.subscribe({
        onDelete: ({ metadata }) => {
          const namespace = context.namespaces.store.get(metadata.namespace ?? '');
          if (namespace?.metadata.deletionTimestamp !== undefined) queue.add(namespace.metadata.name);
        },
      });
    },
    stop: () => queue.stop(),
  };
}

async function syncNamespace(context: Context, name: string): Promise<number | void> {
  const namespace = context.namespaces.store.get(name);
  if (!namespace) return;
  if (namespace.metadata.deletionTimestamp === undefined) return provision(context, name);
  return drain(context, namespace);
}

async function provision(context: Context, namespace: string): Promise<void> {
  await Promise.all([
    ensure(context, SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace } }),
    ensure(context, CONFIG_MAPS, {
      metadata: { name: ROOT_CA, namespace },
      data: { 'ca.crt': context.client.config.ca ?? '' },
    }),
  ]);
}

async function ensure<T extends KubeObject>(
  context: Context,
  ref: ResourceRef<T>,
  object: NewObject<T>,
): Promise<void> {
  const { name, namespace } = object.metadata as { name: string; namespace: string };
  if (await context.client.find(ref, { namespace, name })) return;
  try {
    await context.client.create(ref, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

async function drain(context: Context, namespace: Namespace): Promise<number | void> {
  const { name } = namespace.metadata;
  if (!(namespace.spec?.finalizers ?? []).includes('kubernetes')) return;
  const all = await discoverResources(context.client);
  const kinds = all.filter(
    ({ ref, verbs }) => ref.namespaced && verbs.includes('delete') && verbs.includes('list'),
  );
  // Owners first would be torn down pod by pod by their controllers; all at once is as good, since creation is refused.
  let remaining = 0;
  await forEachLimited(kinds, 6, async (kind) => {
    remaining += await empty(context, kind, name);
  });
  if (remaining > 0) return DRAIN_MS;
  const finalizers = (namespace.spec?.finalizers ?? []).filter((finalizer) => finalizer !== 'kubernetes');
  const body = { ...namespace, apiVersion: 'v1', kind: 'Namespace', spec: { ...namespace.spec, finalizers } };
  try {
    await context.client.raw('PUT', `/api/v1/namespaces/${name}/finalize`, body);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Deletes what there is of one kind; returns how many objects are left for later looks. */
async function empty(
  context: Context,
  { ref, verbs }: DiscoveredResource,
  namespace: string,
): Promise<number> {
  try {
    const list = await context.client.list(ref, { namespace });
    const fresh = list.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    if (fresh.length === 0) return list.items.length;
    if (verbs.includes('deletecollection')) {
      await context.client.deleteCollection(ref, { namespace, propagationPolicy: 'Background' });
    } else {
      for (const { metadata } of fresh) await context.client.delete(ref, metadata);
    }
    const left = await context.client.list(ref, { namespace, limit: 1 });
    return left.items.length;
  } catch (error) {
    if (isNotFound(error)) return 0; // the kind went meanwhile
    context.log.debug({ kind: ref.kind, namespace, error: errorMessage(error) }, 'namespace not emptied yet');
    throw error;
  }
}
