// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, watch, type FSWatcher } from 'node:fs';
import { AppError } from '@cilium-ts/base';
import type { SandboxNode } from '../cluster/node.ts';
import type { Runtime } from '../runtime/runtime.ts';

const PLUGIN_DIR = '/opt/cni/bin';
const TIMEOUT_MS = 120_000;

export interface CniNetwork {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly Record<string, unknown>[];
}

export interface CniResult {
  readonly ips?: readonly { readonly address: string }[];
  readonly [field: string]: unknown;
}

export interface CniAttachment {
  readonly containerId: string;
  readonly netnsPath: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
}

/** @throws AppError `cni` for a configuration that is not one */
export function parseNetwork(text: string, file: string): CniNetwork {
  let parsed: Record<string, unknown>;
  try {
    parsed = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new AppError('cni', `${file}: ${(error as Error).message}`);
  }
  const { name, cniVersion, plugins, type } = parsed;
  const list = Array.isArray(plugins) ? (plugins as Record<string, unknown>[]) : type ? [parsed] : [];
  if (typeof name !== 'string' || list.length === 0)
    throw new AppError('cni', `${file}: name or plugins is missing`);
  return { name, cniVersion: typeof cniVersion === 'string' ? cniVersion : '0.4.0', plugins: list };
}

/** The first configuration of the node's folder by name; it appears when the agent can serve requests. */
export class CniConfig {
  readonly #dir: string;
  readonly #watcher: FSWatcher;
  readonly #listeners = new Set<() => void>();
  #network: CniNetwork | undefined;

  constructor(dir: string) {
    this.#dir = dir;
    this.#watcher = watch(dir, () => this.#read());
    this.#watcher.on('error', () => undefined);
    this.#read();
  }

  get network(): CniNetwork | undefined {
    return this.#network;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when a network is configured. */
  ready(signal: AbortSignal): Promise<void> {
    if (this.#network || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.#network && !signal.aborted) return;
        stop();
        signal.removeEventListener('abort', look);
        resolve();
      };
      const stop = this.onChange(look);
      signal.addEventListener('abort', look);
    });
  }

  stop(): void {
    this.#watcher.close();
    this.#listeners.clear();
  }

  #read(): void {
    const before = this.#network;
    this.#network = undefined;
    try {
      for (const name of readdirSync(this.#dir).sort()) {
        if (!/\.(conflist|conf|json)$/.test(name)) continue;
        this.#network = parseNetwork(readFileSync(`${this.#dir}/${name}`, 'utf8'), name);
        break;
      }
    } catch {
      // Half-written or just removed: the next event brings it.
    }
    if (JSON.stringify(before) !== JSON.stringify(this.#network)) {
      for (const listener of [...this.#listeners]) listener();
    }
  }
}

/** Executes the plugins of a network as a container runtime does. */
export class CniRunner {
  readonly #runtime: Runtime;
  readonly #node: SandboxNode;

  constructor(runtime: Runtime, node: SandboxNode) {
    this.#runtime = runtime;
    this.#node = node;
  }

  /** @throws AppError `cni` with the plugin's own message */
  async add(network: CniNetwork, attachment: CniAttachment): Promise<CniResult> {
    let result: CniResult = {};
    for (const [at, plugin] of network.plugins.entries()) {
      const previous = at === 0 ? {} : { prevResult: result };
      const text = await this.#call('ADD', network, plugin, attachment, previous);
      result = JSON.parse(text) as CniResult;
    }
    return result;
  }

  /** @throws AppError `cni` */
  async remove(network: CniNetwork, attachment: CniAttachment, result: CniResult | undefined): Promise<void> {
    const previous = result && supportsPrevious(network.cniVersion) ? { prevResult: result } : {};
    for (const plugin of [...network.plugins].reverse())
      await this.#call('DEL', network, plugin, attachment, previous);
  }

  /** @throws AppError `cni` where the attachment is not as it was made */
  async check(network: CniNetwork, attachment: CniAttachment, result: CniResult): Promise<void> {
    for (const plugin of network.plugins)
      await this.#call('CHECK', network, plugin, attachment, { prevResult: result });
  }

  async #call(
    command: string,
    network: CniNetwork,
    plugin: Record<string, unknown>,
    attachment: CniAttachment,
    more: object,
  ): Promise<string> {
    const type = String(plugin['type']);
    if (!/^[\w.-]+$/.test(type))
      throw new AppError('cni', `network ${network.name}: bad plugin type ${JSON.stringify(type)}`);
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerId,
      CNI_NETNS: attachment.netnsPath,
      CNI_IFNAME: 'eth0',
      CNI_PATH: PLUGIN_DIR,
      CNI_ARGS: [
        'IgnoreUnknown=1',
        `K8S_POD_NAMESPACE=${attachment.podNamespace}`,
        `K8S_POD_NAME=${attachment.podName}`,
        `K8S_POD_INFRA_CONTAINER_ID=${attachment.containerId}`,
        `K8S_POD_UID=${attachment.podUid}`,
      ].join(';'),
    };
    const input = JSON.stringify({ ...plugin, cniVersion: network.cniVersion, name: network.name, ...more });
    const answer = await this.#runtime.nodeExec(this.#node, [`${PLUGIN_DIR}/${type}`], {
      env,
      input,
      timeoutMs: TIMEOUT_MS,
    });
    if (answer.code === 0) return answer.stdout.trim() || '{}';
    throw new AppError(
      'cni',
      `plugin type="${type}" failed (${command.toLowerCase()}): ${complaint(answer)}`,
    );
  }
}

function supportsPrevious(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 0 || minor >= 4;
}

function complaint(answer: { stdout: string; stderr: string; code: number }): string {
  try {
    const error = JSON.parse(answer.stdout) as { msg?: string; details?: string };
    if (error.msg) return error.details ? `${error.msg}: ${error.details}` : error.msg;
  } catch {
    // No error object: its stderr is all there is.
  }
  return answer.stderr.trim() || answer.stdout.trim() || `exit code ${answer.code}`;
}
