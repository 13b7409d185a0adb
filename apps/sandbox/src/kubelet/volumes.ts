// SPDX-License-Identifier: Apache-2.0
import { chmod, chown, mkdir } from 'node:fs/promises';
import { KubeError, type KubeClient, type Pod, type PodSpec } from '@cilium-ts/kube';
import { fieldValue, resourceValue } from './downward.ts';
import { type ObjectLookup } from './environment.ts';
import { ContainerConfigError, type PodFacts } from './pod-facts.ts';
import { hostPathSource } from './host-path.ts';
import { ProjectedFolder, type ProjectedFile } from './projected-folder.ts';
import type { VolumeSource } from './volume-source.ts';
import { requestToken, type IssuedToken } from './service-account-tokens.ts';

type Volume = NonNullable<PodSpec['volumes']>[number];

export interface VolumeContext {
  readonly client: KubeClient;
  readonly lookup: ObjectLookup;
  readonly facts: () => PodFacts;
  /** Folder of the pod on the machine. */
  readonly dir: string;
  readonly allowedHostPaths: readonly string[];
  readonly account?: { readonly ca: string; readonly token: string } | undefined;
}

export const ACCOUNT_MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Name of the volume that brings the service account where the API server injected none. */
export const ACCOUNT_VOLUME = 'kube-api-access';
const TOKEN_SECONDS = 3607;

/** True where the pod gets its service account and nothing in its spec brings it already. */
export function needsAccountVolume(pod: Pod): boolean {
  if (pod.spec?.automountServiceAccountToken === false) return false;
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return !all.every(({ volumeMounts = [] }) =>
    volumeMounts.some(({ mountPath }) => mountPath === ACCOUNT_MOUNT),
  );
}

/** The volumes of one pod: made once, kept up to date while it lives. */
export class PodVolumes {
  readonly #context: VolumeContext;
  readonly #sources = new Map<string, VolumeSource>();
  readonly #refreshers: (() => Promise<void>)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(context: VolumeContext) {
    this.#context = context;
  }

  source(name: string): VolumeSource | undefined {
    return this.#sources.get(name);
  }

  /** @throws ContainerConfigError or KubeError where something is not there yet; call it again then */
  async prepare(): Promise<void> {
    const { pod } = this.#context.facts();
    const volumes = [...(pod.spec?.volumes ?? [])];
    if (needsAccountVolume(pod)) volumes.push(accountVolume());
    for (const volume of volumes) {
      if (!this.#sources.has(volume.name)) this.#sources.set(volume.name, await this.#make(volume));
    }
  }

  /** Brings changed ConfigMaps, Secrets and labels into the files; what is missing keeps its last content. */
  async refresh(): Promise<void> {
    for (const refresh of this.#refreshers) await refresh().catch(() => undefined);
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#refreshers.length = 0;
  }

  async #make(volume: Volume): Promise<VolumeSource> {
    if (volume.hostPath) return hostPathSource(volume.hostPath, this.#context.allowedHostPaths);
    const path = `${this.#context.dir}/volumes/${volume.name}`;
    const group = this.#context.facts().pod.spec?.securityContext?.fsGroup;
    await mkdir(path, { recursive: true });
    if (volume.emptyDir) {
      await chmod(path, group === undefined ? 0o777 : 0o2777);
      if (group !== undefined) await chown(path, 0, group);
      return { where: 'machine', path, readOnly: false };
    }
    const parts = projectionsOf(volume);
    if (!parts) {
      const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'none';
      throw new ContainerConfigError(
        `volume ${volume.name}: kind ${kind} is not available here; use emptyDir, configMap, secret, projected, downwardAPI or hostPath`,
      );
    }
    const folder = new ProjectedFolder(path, group);
    const tokens = new Map<string, ProjectedFile>();
    const write = async (): Promise<void> =>
      folder.update(await this.#collect(parts.sources, parts.mode, tokens));
    await this.#issueTokens(parts.sources, parts.mode, tokens, write);
    await write();
    this.#refreshers.push(write);
    return { where: 'machine', path, readOnly: true };
  }

  async #issueTokens(
    sources: readonly Projection[],
    mode: number,
    tokens: Map<string, ProjectedFile>,
    write: () => Promise<void>,
  ): Promise<void> {
    for (const { serviceAccountToken: wanted } of sources) {
      if (!wanted) continue;
      const issue = async (): Promise<number> => {
        const { pod } = this.#context.facts();
        const seconds = wanted.expirationSeconds ?? TOKEN_SECONDS;
        const issued = await this.#token(pod, wanted.audience, seconds);
        // Other users than root may have to read it: where the pod runs as one, or has a group of its own.
        tokens.set(wanted.path, { content: Buffer.from(issued.token), mode: tokenMode(pod, mode) });
        return issued.refreshInMs;
      };
      const again = (ms: number): void => {
        const timer = setTimeout(() => {
          this.#timers.delete(timer);
          issue().then(
            async (next) => {
              await write().catch(() => undefined);
              again(next);
            },
            () => again(10_000),
          );
        }, ms);
        timer.unref();
        this.#timers.add(timer);
      };
      again(await issue());
    }
  }

  /** An API server that issues no tokens is reached through the sandbox's door, which has one for its pods. */
  async #token(pod: Pod, audience: string | undefined, seconds: number): Promise<IssuedToken> {
    const { client, account } = this.#context;
    try {
      return await requestToken(client, pod, audience, seconds);
    } catch (error) {
      const refused = error instanceof KubeError && [404, 405, 501].includes(error.code);
      if (!account || !refused || error.details.kind === 'serviceaccounts') throw error;
      return { token: account.token, refreshInMs: 3_600_000 };
    }
  }

  async #collect(
    sources: readonly Projection[],
    mode: number,
    tokens: ReadonlyMap<string, ProjectedFile>,
  ): Promise<Map<string, ProjectedFile>> {
    const files = new Map<string, ProjectedFile>(tokens);
    const facts = this.#context.facts();
    const namespace = facts.pod.metadata.namespace ?? 'default';
    for (const source of sources) {
      if (source.configMap) {
        const { name = '', items, optional } = source.configMap;
        const object = this.#context.lookup.configMap(namespace, name);
        const data =
          (name === 'kube-root-ca.crt' && this.#rootCa(object !== undefined)) ||
          (object && configMapData(object));
        addItems(files, `configmap "${name}"`, data, { items, optional, mode });
      }
      if (source.secret) {
        const { name = '', items, optional } = source.secret;
        const object = this.#context.lookup.secret(namespace, name);
        const data =
          object &&
          new Map(Object.entries(object.data ?? {}).map(([k, v]) => [k, Buffer.from(v ?? '', 'base64')]));
        addItems(files, `secret "${name}"`, data, { items, optional, mode });
      }
      for (const item of source.downwardAPI?.items ?? []) {
        const container = facts.pod.spec?.containers.find(
          ({ name }) => name === item.resourceFieldRef?.containerName,
        );
        const value = item.fieldRef
          ? fieldValue(facts, item.fieldRef.fieldPath)
          : item.resourceFieldRef && container
            ? resourceValue(container, item.resourceFieldRef.resource, item.resourceFieldRef.divisor)
            : '';
        files.set(item.path, { content: Buffer.from(value), mode: item.mode ?? mode });
      }
    }
    return files;
  }

  /** The ConfigMap comes from a controller, which an early pod may overtake. */
  #rootCa(known: boolean): Map<string, Buffer> | undefined {
    const ca = this.#context.account?.ca ?? (known ? undefined : this.#context.client.config.ca);
    return ca === undefined ? undefined : new Map([['ca.crt', Buffer.from(ca)]]);
  }
}

interface Projection {
  readonly configMap?:
    { name?: string | undefined; items?: Item[] | undefined; optional?: boolean | undefined } | undefined;
  readonly secret?:
    { name?: string | undefined; items?: Item[] | undefined; optional?: boolean | undefined } | undefined;
  readonly downwardAPI?:
    NonNullable<Volume['downwardAPI']> | { items?: NonNullable<Volume['downwardAPI']>['items'] } | undefined;
  readonly serviceAccountToken?:
    { path: string; audience?: string | undefined; expirationSeconds?: number | undefined } | undefined;
}

interface Item {
  key: string;
  path: string;
  mode?: number | undefined;
}

function projectionsOf(volume: Volume): { sources: Projection[]; mode: number } | undefined {
  if (volume.projected) {
    return {
      sources: (volume.projected.sources ?? []) as Projection[],
      mode: volume.projected.defaultMode ?? 0o644,
    };
  }
  if (volume.configMap)
    return { sources: [{ configMap: volume.configMap }], mode: volume.configMap.defaultMode ?? 0o644 };
  if (volume.secret) {
    const { secretName, items, optional, defaultMode } = volume.secret;
    return { sources: [{ secret: { name: secretName, items, optional } }], mode: defaultMode ?? 0o644 };
  }
  if (volume.downwardAPI) {
    return { sources: [{ downwardAPI: volume.downwardAPI }], mode: volume.downwardAPI.defaultMode ?? 0o644 };
  }
  return undefined;
}

function accountVolume(): Volume {
  return {
    name: ACCOUNT_VOLUME,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  };
}

function tokenMode(pod: Pod, mode: number): number {
  return pod.spec?.securityContext?.fsGroup === undefined ? mode : mode | 0o640;
}

function configMapData(object: {
  data?: Record<string, string | undefined> | undefined;
  binaryData?: Record<string, string | undefined> | undefined;
}): Map<string, Buffer> {
  return new Map([
    ...Object.entries(object.data ?? {}).map(([key, value]) => [key, Buffer.from(value ?? '')] as const),
    ...Object.entries(object.binaryData ?? {}).map(
      ([key, value]) => [key, Buffer.from(value ?? '', 'base64')] as const,
    ),
  ]);
}

function addItems(
  files: Map<string, ProjectedFile>,
  what: string,
  data: ReadonlyMap<string, Buffer> | undefined,
  wanted: {
    readonly items: readonly Item[] | undefined;
    readonly optional: boolean | undefined;
    readonly mode: number;
  },
): void {
  const { items, optional, mode } = wanted;
  if (!data) {
    if (optional) return;
    throw new ContainerConfigError(`${what} not found`);
  }
  if (!items || items.length === 0) {
    for (const [key, content] of data) files.set(key, { content, mode });
    return;
  }
  for (const { key, path, mode: own } of items) {
    const content = data.get(key);
    if (content) files.set(path, { content, mode: own ?? mode });
    else if (!optional) throw new ContainerConfigError(`${what} has no key ${key}`);
  }
}
