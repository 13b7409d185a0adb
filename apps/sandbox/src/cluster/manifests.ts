// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir } from 'node:fs/promises';
import { AppError, errorMessage } from '@cilium-ts/base';
import {
  KubeError,
  isConflict,
  isNotFound,
  resource,
  waitFor,
  type KubeClient,
  type ResourceRef,
  type UntypedObject,
} from '@cilium-ts/kube';
import { parseAllDocuments } from 'yaml';

/** Objects of a YAML text with any number of documents; lists are taken apart. @throws AppError `manifest` */
export function parseManifest(text: string, source: string): UntypedObject[] {
  const objects: UntypedObject[] = [];
  for (const document of parseAllDocuments(text, { merge: true })) {
    const [problem] = document.errors;
    if (problem) throw new AppError('manifest', `${source}: ${problem.message}`);
    const value = document.toJS() as (UntypedObject & { items?: UntypedObject[] }) | null;
    if (value === null || value === undefined) continue;
    const all = value.kind?.endsWith('List') && Array.isArray(value.items) ? value.items : [value];
    for (const object of all) {
      if (!object.apiVersion || !object.kind || !object.metadata?.name) {
        throw new AppError('manifest', `${source}: a document lacks apiVersion, kind or metadata.name`);
      }
      objects.push(object);
    }
  }
  return objects;
}

/** All `*.yaml` of a folder and the folders in it, by name. Empty where the folder does not exist. */
export async function readManifests(dir: string): Promise<UntypedObject[]> {
  const entries = await readdir(dir, { withFileTypes: true, recursive: true }).catch(() => []);
  const paths = entries
    .filter((entry) => entry.isFile() && /\.ya?ml$/.test(entry.name))
    .map((entry) => `${entry.parentPath}/${entry.name}`)
    .sort();
  const parsed = await Promise.all(
    paths.map(async (path) => parseManifest(await readFile(path, 'utf8'), path)),
  );
  return parsed.flat();
}

interface ApiResourceList {
  resources?: { name: string; kind: string; namespaced: boolean }[];
}

const FIRST = ['Namespace', 'CustomResourceDefinition'];
const PARALLEL = 12;
const KIND_TIMEOUT_MS = 15_000;

/** Applies objects by server-side apply: namespaces and definitions first, then all others at once. */
export class Applier {
  readonly #client: KubeClient;
  readonly #kinds = new Map<string, Promise<ApiResourceList>>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** @throws AppError `apply` naming the object that was refused */
  async apply(objects: readonly UntypedObject[]): Promise<void> {
    const first = objects.filter(({ kind }) => FIRST.includes(kind ?? ''));
    const others = objects.filter(({ kind }) => !FIRST.includes(kind ?? ''));
    await this.#applyAll(first);
    await this.#applyAll(others);
  }

  async #applyAll(objects: readonly UntypedObject[]): Promise<void> {
    const queue = [...objects];
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) await this.#applyOne(next);
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  }

  async #applyOne(object: UntypedObject): Promise<void> {
    const what = `${object.kind} ${object.metadata.namespace ? `${object.metadata.namespace}/` : ''}${object.metadata.name}`;
    try {
      const ref = await this.#resource(object);
      const body = ref.namespaced
        ? { ...object, metadata: { ...object.metadata, namespace: object.metadata.namespace ?? 'default' } }
        : object;
      for (let attempt = 0; ; attempt++) {
        try {
          await this.#client.apply(ref, body, { fieldManager: 'cilium-ts-sandbox', force: true });
          return;
        } catch (error) {
          if (!isConflict(error) || attempt === 5) throw error;
        }
      }
    } catch (error) {
      throw new AppError('apply', `${what}: ${errorMessage(error)}`, {}, error);
    }
  }

  async #resource(object: UntypedObject): Promise<ResourceRef<UntypedObject>> {
    const [group, version] = splitApiVersion(object.apiVersion ?? '');
    const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
    const find = async (): Promise<ResourceRef<UntypedObject> | undefined> => {
      const list = await this.#discover(path);
      const found = list.resources?.find(({ kind, name }) => kind === object.kind && !name.includes('/'));
      if (!found) this.#kinds.delete(path);
      return found && resource(group, version, found.name, found.kind, found.namespaced);
    };
    // A definition that has just been applied is served a moment later.
    return waitFor(`kind ${object.kind} of ${object.apiVersion}`, find, {
      timeoutMs: KIND_TIMEOUT_MS,
      intervalMs: 20,
    });
  }

  #discover(path: string): Promise<ApiResourceList> {
    let known = this.#kinds.get(path);
    if (!known) {
      known = this.#client.raw<ApiResourceList>('GET', path).catch((error: unknown) => {
        this.#kinds.delete(path);
        if (error instanceof KubeError && isNotFound(error)) return {};
        throw error;
      });
      this.#kinds.set(path, known);
    }
    return known;
  }
}

function splitApiVersion(apiVersion: string): [string, string] {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? ['', apiVersion] : [apiVersion.slice(0, slash), apiVersion.slice(slash + 1)];
}
