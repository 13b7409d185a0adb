// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { AppError, errorMessage } from '@cilium-ts/base';

/** How to reach and authenticate to one API server. PEM texts, not paths. */
export interface KubeConfig {
  /** `https://host:port`, with a path prefix where the server has one; no trailing slash. */
  readonly server: string;
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** Name in the server's certificate where it differs from the host of `server`. */
  readonly serverName?: string;
  readonly insecureSkipVerify: boolean;
  /** Namespace of the context, or of the pod. */
  readonly namespace?: string;
  /** Value of the Authorization header at this moment; tokens in files are read again when they change. */
  authorization(): string | undefined;
  /** For messages: the file or `in-cluster`. */
  readonly source: string;
}

export const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Milliseconds between looks at a token file. */
const TOKEN_CHECK_MS = 10_000;

export interface LoadOptions {
  /** A kubeconfig file; default: `KUBECONFIG`, then the pod's service account, then `~/.kube/config`. */
  readonly file?: string | undefined;
  readonly context?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly serviceAccountDirectory?: string;
}

/** @throws AppError `bad-kubeconfig` */
export async function loadKubeConfig(options: LoadOptions = {}): Promise<KubeConfig> {
  const env = options.env ?? process.env;
  if (options.file !== undefined) return loadKubeConfigFile(options.file, options.context);
  const fromEnv = env['KUBECONFIG']?.split(':').find((path) => path !== '');
  if (fromEnv !== undefined) return loadKubeConfigFile(fromEnv, options.context);
  const directory = options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY;
  if (env['KUBERNETES_SERVICE_HOST'] && existsSync(`${directory}/token`))
    return inClusterConfig(env, directory);
  return loadKubeConfigFile(resolve(env['HOME'] ?? '/root', '.kube/config'), options.context);
}

/** The configuration of a pod. @throws AppError `bad-kubeconfig` */
export function inClusterConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
  directory: string = SERVICE_ACCOUNT_DIRECTORY,
): KubeConfig {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (!host) throw bad('in-cluster', 'KUBERNETES_SERVICE_HOST is not set: not inside a pod');
  const ca = readText(`${directory}/ca.crt`, 'in-cluster');
  const namespaceFile = `${directory}/namespace`;
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca,
    insecureSkipVerify: false,
    ...(existsSync(namespaceFile) ? { namespace: readText(namespaceFile, 'in-cluster').trim() } : {}),
    authorization: tokenFile(`${directory}/token`),
    source: 'in-cluster',
  };
}

/** A bearer token kept in a file that its owner rotates. A read that fails keeps the last token. */
function tokenFile(path: string): () => string | undefined {
  let header: string | undefined;
  let checked = -Infinity;
  return () => {
    const now = performance.now();
    if (header === undefined || now - checked >= TOKEN_CHECK_MS) {
      checked = now;
      try {
        header = `Bearer ${readFileSync(path, 'utf8').trim()}`;
      } catch {
        // The file is replaced by rename: the next look sees it.
      }
    }
    return header;
  };
}

interface NamedEntry {
  name?: string;
  cluster?: Record<string, unknown>;
  user?: Record<string, unknown> | null;
  context?: Record<string, unknown>;
}

interface KubeConfigFile {
  'current-context'?: string;
  clusters?: NamedEntry[];
  users?: NamedEntry[];
  contexts?: NamedEntry[];
}

/** @throws AppError `bad-kubeconfig` naming the file and the entry. */
export async function loadKubeConfigFile(path: string, contextName?: string): Promise<KubeConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw bad(path, errorMessage(error));
  }
  return parseKubeConfig(await parseDocument(text, path), path, contextName);
}

async function parseDocument(text: string, path: string): Promise<KubeConfigFile> {
  try {
    if (text.trimStart().startsWith('{')) return JSON.parse(text) as KubeConfigFile;
    // Loaded only here: in a pod no YAML is read.
    const { parse } = await import('yaml');
    const parsed: unknown = parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new Error('not a mapping');
    return parsed as KubeConfigFile;
  } catch (error) {
    throw bad(path, `not a kubeconfig: ${errorMessage(error)}`);
  }
}

function parseKubeConfig(file: KubeConfigFile, path: string, contextName?: string): KubeConfig {
  const wanted = contextName ?? file['current-context'];
  if (!wanted) throw bad(path, 'current-context is not set');
  const context = find(file.contexts, wanted, path, 'contexts').context ?? {};
  const clusterName = text(context, 'cluster') ?? '';
  const cluster = find(file.clusters, clusterName, path, 'clusters').cluster ?? {};
  const userName = text(context, 'user');
  const user = userName === undefined ? {} : (find(file.users, userName, path, 'users').user ?? {});
  const server = text(cluster, 'server')?.replace(/\/+$/, '');
  if (!server || !/^https?:\/\//.test(server)) {
    throw bad(path, `cluster ${JSON.stringify(clusterName)}: server must be an http:// or https:// URL`);
  }
  const directory = dirname(path);
  const ca = pem(cluster, 'certificate-authority', directory, path);
  const clientCert = pem(user, 'client-certificate', directory, path);
  const clientKey = pem(user, 'client-key', directory, path);
  const serverName = text(cluster, 'tls-server-name');
  const namespace = text(context, 'namespace');
  return {
    server,
    insecureSkipVerify: cluster['insecure-skip-tls-verify'] === true,
    ...(ca === undefined ? {} : { ca }),
    ...(clientCert === undefined ? {} : { clientCert }),
    ...(clientKey === undefined ? {} : { clientKey }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(namespace === undefined ? {} : { namespace }),
    authorization: authorizationOf(user, directory, path),
    source: path,
  };
}

function authorizationOf(
  user: Record<string, unknown>,
  directory: string,
  path: string,
): () => string | undefined {
  const token = text(user, 'token');
  if (token !== undefined) return () => `Bearer ${token}`;
  const file = text(user, 'tokenFile');
  if (file !== undefined) return tokenFile(resolve(directory, file));
  const name = text(user, 'username');
  if (name !== undefined) {
    const header = `Basic ${Buffer.from(`${name}:${text(user, 'password') ?? ''}`).toString('base64')}`;
    return () => header;
  }
  if (user['exec'] !== undefined || user['auth-provider'] !== undefined) {
    throw bad(
      path,
      'users of kind exec or auth-provider are not supported: use a token or a client certificate',
    );
  }
  return () => undefined;
}

function find(entries: NamedEntry[] | undefined, name: string, path: string, list: string): NamedEntry {
  const found = (Array.isArray(entries) ? entries : []).find((entry) => entry.name === name);
  if (!found) throw bad(path, `${list} has no entry named ${JSON.stringify(name)}`);
  return found;
}

function text(from: Record<string, unknown>, key: string): string | undefined {
  const value = from[key];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** `KEY-data` (base64) goes before the file named by `KEY`. */
function pem(
  from: Record<string, unknown>,
  key: string,
  directory: string,
  path: string,
): string | undefined {
  const data = text(from, `${key}-data`);
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const file = text(from, key);
  return file === undefined ? undefined : readText(resolve(directory, file), path);
}

function readText(path: string, source: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw bad(source, errorMessage(error));
  }
}

function bad(source: string, message: string): AppError {
  return new AppError('bad-kubeconfig', `${source}: ${message}`, { source });
}

/** The TLS half of a configuration, for connections that KubeClient does not make itself. */
export function tlsOptions(config: KubeConfig): ConnectionOptions {
  return {
    ...(config.ca === undefined ? {} : { ca: config.ca }),
    ...(config.clientCert === undefined ? {} : { cert: config.clientCert }),
    ...(config.clientKey === undefined ? {} : { key: config.clientKey }),
    ...(config.serverName === undefined ? {} : { servername: config.serverName }),
    rejectUnauthorized: !config.insecureSkipVerify,
  };
}
