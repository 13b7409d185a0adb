// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { apiVersionOf, jsonEqual, timestamp, type Dict, type KubeObject, type Resource } from './model.ts';
import { recordUpdate } from './managed-fields.ts';
import { checkAnnotations, checkLabels, checkName, randomSuffix } from './names.ts';
import type { Registry } from './registry.ts';
import { admitSchema } from './schema-admission.ts';
import { alreadyExists, ApiError, conflict, field, forbidden, invalid, notFound } from './status.ts';
import type { Store } from './store.ts';
import type { ServiceAddresses } from './service-addresses.ts';

/** How a write was asked for. */
export interface WriteOptions {
  readonly dryRun: boolean;
  readonly manager: string;
  /** `Strict` refuses unknown fields, `Warn` collects warnings, `Ignore` drops them silently. */
  readonly validation: 'Strict' | 'Warn' | 'Ignore';
  readonly subresource?: string;
  /** Receives sentences for the client's Warning headers. */
  readonly warn: (text: string) => void;
  /** Server-side apply has computed these already. */
  readonly managedFields?: Dict[];
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly orphanDependents?: boolean;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: boolean;
}

/** What else must happen when an object of some storage changed; used by custom resource definitions. */
export type AfterWrite = (object: KubeObject, removed: boolean) => void;

/** Create, update and delete with the rules all kinds share. */
export class Objects {
  readonly store: Store;
  readonly registry: Registry;
  readonly services: ServiceAddresses;
  readonly afterWrite = new Map<string, AfterWrite>();

  constructor(store: Store, registry: Registry, services: ServiceAddresses) {
    this.store = store;
    this.registry = registry;
    this.services = services;
  }

  /** Throws 404 when there is none. */
  require(resource: Resource, namespace: string | undefined, name: string): KubeObject {
    const found = this.store.get(resource.storage, namespace ?? '', name);
    if (!found) throw notFound(resource, name);
    return found;
  }

  create(resource: Resource, namespace: string | undefined, body: Dict, options: WriteOptions): KubeObject {
    const object = this.toStored(resource, body);
    const meta = object.metadata;
    if (resource.namespaced) meta.namespace = namespace!;
    else delete meta.namespace;
    if (!meta.name && meta.generateName) meta.name = meta.generateName.slice(0, 58) + randomSuffix();
    if (!meta.name)
      throw invalid(resource, '', [field.required('metadata.name', 'name or generateName is required')]);
    const present = this.store.get(resource.storage, meta.namespace ?? '', meta.name);
    if (present) throw alreadyExists(resource, meta.name, present.metadata.deletionTimestamp !== undefined);
    this.checkNamespace(resource, meta.namespace, meta.name);
    Object.assign(meta, { uid: randomUUID(), creationTimestamp: timestamp(), resourceVersion: '' });
    delete meta.deletionTimestamp;
    delete meta.deletionGracePeriodSeconds;
    meta.generation = 1;
    if (resource.subresources.includes('status') && !KEEP_STATUS.has(resource.kind)) delete object.status;
    this.admit(resource, object, null, options);
    if (!hasGeneration(resource)) delete meta.generation;
    if (resource.storage === '/services') this.services.assign(object, null, options.dryRun);
    object.metadata.managedFields = options.managedFields ?? recordUpdate(resource, null, object, options);
    if (options.dryRun) return object;
    const stored = this.store.put(resource.storage, object);
    this.afterWrite.get(resource.storage)?.(stored, false);
    return stored;
  }

  /** Replaces `old` by `body` through the main endpoint or a subresource. Returns the stored object. */
  update(resource: Resource, old: KubeObject, body: Dict, options: WriteOptions): KubeObject {
    const object = this.toStored(resource, body);
    this.checkVersion(resource, old, object);
    const status = options.subresource === 'status';
    if (status)
      for (const key of Object.keys(object)) if (key !== 'status' && key !== 'metadata') delete object[key];
    if (status)
      for (const key of Object.keys(old))
        if (key !== 'status' && key !== 'metadata') object[key] = old[key] as unknown;
    if (status && resource.schema) object.metadata = { ...old.metadata };
    if (!status && resource.subresources.includes('status')) keepStatus(object, old);
    keepIdentity(object, old);
    this.admit(resource, object, old, options);
    if (resource.storage === '/services' && !status) this.services.assign(object, old, options.dryRun);
    if (hasGeneration(resource) && !status && specChanged(old, object))
      object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    object.metadata.managedFields = options.managedFields ?? recordUpdate(resource, old, object, options);
    if (object.metadata.managedFields.length === 0) delete object.metadata.managedFields;
    if (jsonEqual(withoutTimes(old), withoutTimes(object))) return old;
    if (options.dryRun) return object;
    if (object.metadata.deletionTimestamp && isReleased(resource, object))
      return this.remove(resource, object);
    const stored = this.store.put(resource.storage, object);
    this.afterWrite.get(resource.storage)?.(stored, false);
    return stored;
  }

  /** Deletes at once, or marks the object so that finalizers and kubelets can do their part. */
  delete(resource: Resource, old: KubeObject, options: DeleteOptions): { object: KubeObject; gone: boolean } {
    const { uid, resourceVersion } = options.preconditions ?? {};
    if (uid !== undefined && uid !== old.metadata.uid)
      throw conflict(
        resource,
        old.metadata.name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
      );
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion)
      throw conflict(
        resource,
        old.metadata.name,
        `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${old.metadata.resourceVersion}`,
      );
    if (resource.storage === '/namespaces' && PROTECTED.has(old.metadata.name))
      throw forbidden(resource, old.metadata.name, 'this namespace may not be deleted');
    const object: KubeObject = { ...old, metadata: { ...old.metadata } };
    const grace = gracePeriod(resource, old, options);
    addPropagationFinalizer(object, options);
    if (grace === 0) delete object.metadata.deletionGracePeriodSeconds;
    const gone = grace === 0 && isReleased(resource, object);
    if (options.dryRun) return { object: old, gone };
    if (gone) return { object: this.remove(resource, object), gone };
    const earlier = old.metadata.deletionGracePeriodSeconds;
    if (!old.metadata.deletionTimestamp || (earlier !== undefined && grace < earlier)) {
      object.metadata.deletionTimestamp = timestamp(grace);
      object.metadata.deletionGracePeriodSeconds = grace;
      if (hasGeneration(resource)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
      if (resource.storage === '/namespaces')
        object.status = { ...(object.status as Dict), phase: 'Terminating' };
    } else if (jsonEqual(object, old)) return { object: old, gone: false };
    const stored = this.store.put(resource.storage, object);
    this.afterWrite.get(resource.storage)?.(stored, false);
    return { object: stored, gone: false };
  }

  remove(resource: Resource, object: KubeObject): KubeObject {
    const last = this.store.remove(resource.storage, object);
    if (resource.storage === '/services') this.services.release(object);
    this.afterWrite.get(resource.storage)?.(object, true);
    return last;
  }

  private toStored(resource: Resource, body: Dict): KubeObject {
    const object = structuredClone(body) as KubeObject;
    object.metadata ??= {} as KubeObject['metadata'];
    const converted = resource.toStored ? resource.toStored(object) : object;
    const stored = resource.toStored ? converted.apiVersion : apiVersionOf(resource);
    return { ...converted, apiVersion: stored, kind: resource.kind };
  }

  private checkVersion(resource: Resource, old: KubeObject, object: KubeObject): void {
    const { uid, resourceVersion } = object.metadata;
    if (uid && uid !== old.metadata.uid)
      throw conflict(
        resource,
        old.metadata.name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
      );
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion)
      throw conflict(
        resource,
        old.metadata.name,
        'the object has been modified; please apply your changes to the latest version and try again',
      );
  }

  private checkNamespace(resource: Resource, namespace: string | undefined, name: string): void {
    if (namespace === undefined) return;
    const found = this.store.get('/namespaces', '', namespace);
    if (!found) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, namespace);
    if (!found.metadata.deletionTimestamp) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const error = forbidden(resource, name, why);
    const cause = {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    };
    throw new ApiError(403, 'Forbidden', error.message, { ...error.details, causes: [cause] });
  }

  private admit(resource: Resource, object: KubeObject, old: KubeObject | null, options: WriteOptions): void {
    const meta = object.metadata;
    const errors = old ? [] : checkName(meta.name, resource.kind);
    errors.push(...checkLabels(meta.labels, 'metadata.labels'), ...checkAnnotations(meta.annotations));
    errors.push(...admitSchema(resource, object, options));
    if (errors.length === 0) {
      resource.rules?.setDefaults?.(object);
      errors.push(...(resource.rules?.validate?.(object, old) ?? []));
    }
    if (errors.length > 0) throw invalid(resource, meta.name, errors);
  }
}

const PROTECTED = new Set(['default', 'kube-system', 'kube-public']);
/** Kinds whose first status may come with the create call. */
const KEEP_STATUS = new Set(['Node', 'Namespace', 'CustomResourceDefinition', 'Pod']);
const WITHOUT_GENERATION = new Set([
  'Namespace',
  'Node',
  'Service',
  'Endpoints',
  'ConfigMap',
  'Secret',
  'ServiceAccount',
  'Event',
  'Lease',
]);

function hasGeneration(resource: Resource): boolean {
  return (
    !WITHOUT_GENERATION.has(resource.kind) &&
    !resource.plural.endsWith('roles') &&
    !resource.plural.endsWith('rolebindings')
  );
}

function keepStatus(object: KubeObject, old: KubeObject): void {
  if (old.status === undefined) delete object.status;
  else object.status = old.status as unknown;
}

function keepIdentity(object: KubeObject, old: KubeObject): void {
  const {
    name,
    namespace,
    uid,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    generation,
    generateName,
    resourceVersion,
  } = old.metadata;
  const meta: Dict = object.metadata;
  const kept: Dict = {
    name,
    namespace,
    uid,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    generation,
    generateName,
    resourceVersion,
  };
  for (const [key, value] of Object.entries(kept)) {
    if (value === undefined) delete meta[key];
    else meta[key] = value as unknown;
  }
  if (meta.managedFields === undefined && old.metadata.managedFields)
    meta.managedFields = old.metadata.managedFields;
}

function specChanged(old: KubeObject, object: KubeObject): boolean {
  const spec = ({ metadata: _m, status: _s, apiVersion: _a, ...rest }: KubeObject): Dict => rest;
  return !jsonEqual(spec(old), spec(object));
}

/** For comparing: ownership records change their time with each write, which alone is no change. */
function withoutTimes(object: KubeObject): Dict {
  const managedFields = object.metadata.managedFields?.map(({ time: _time, ...entry }) => entry);
  return { ...object, metadata: { ...object.metadata, managedFields, resourceVersion: '' } };
}

function isReleased(resource: Resource, object: KubeObject): boolean {
  if (object.metadata.finalizers?.length) return false;
  if (resource.storage === '/namespaces') return !(object.spec?.finalizers as unknown[] | undefined)?.length;
  return (
    resource.storage !== '/pods' ||
    !(object.metadata.deletionGracePeriodSeconds ?? 0) ||
    !object.metadata.deletionTimestamp
  );
}

/** Seconds a pod gets to end; 0 for everything else and for pods no kubelet runs. */
function gracePeriod(resource: Resource, old: KubeObject, options: DeleteOptions): number {
  if (resource.storage !== '/pods') return 0;
  const phase = String(old.status?.phase ?? '');
  if (!old.spec?.nodeName || phase === 'Succeeded' || phase === 'Failed') return 0;
  const seconds = Number(options.gracePeriodSeconds ?? old.spec?.terminationGracePeriodSeconds ?? 30);
  return Math.max(0, seconds);
}

function addPropagationFinalizer(object: KubeObject, options: DeleteOptions): void {
  const policy = options.propagationPolicy ?? (options.orphanDependents ? 'Orphan' : undefined);
  const finalizer =
    policy === 'Foreground' ? 'foregroundDeletion' : policy === 'Orphan' ? 'orphan' : undefined;
  if (!finalizer || object.metadata.deletionTimestamp) return;
  const others = (object.metadata.finalizers ?? []).filter((name) => name !== finalizer);
  object.metadata.finalizers = [...others, finalizer];
}
