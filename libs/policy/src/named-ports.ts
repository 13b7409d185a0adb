// SPDX-License-Identifier: Apache-2.0

export interface PodPort {
  readonly name: string;
  readonly port: number;
  /** IP protocol number. */
  readonly protocol: number;
}

export interface PodPorts {
  /** Undefined while the pod has none yet. */
  readonly identity: number | undefined;
  readonly ports: readonly PodPort[];
}

interface PodRecord {
  readonly identity: number | undefined;
  /** `name/protocol` -> number. */
  readonly ports: ReadonlyMap<string, number>;
  /** Equal for pods with equal tables. */
  readonly signature: string;
}

/** Which numbers the named ports of pods stand for. */
export class NamedPorts {
  readonly #pods = new Map<string, PodRecord>();
  readonly #byIdentity = new Map<number, Set<string>>();

  /** Returns whether anything changed. */
  upsert(key: string, pod: PodPorts): boolean {
    const ports = new Map(
      pod.ports.map(({ name, protocol, port }) => [`${name.toLowerCase()}/${protocol}`, port]),
    );
    const signature = [...ports]
      .map(([name, port]) => `${name}=${port}`)
      .sort()
      .join();
    const old = this.#pods.get(key);
    if (old?.identity === pod.identity && old?.signature === signature) return false;
    this.delete(key);
    this.#pods.set(key, { identity: pod.identity, ports, signature });
    if (pod.identity !== undefined) {
      const keys = this.#byIdentity.get(pod.identity) ?? new Set();
      this.#byIdentity.set(pod.identity, keys.add(key));
    }
    return signature !== '' || (old !== undefined && old.signature !== '');
  }

  delete(key: string): boolean {
    const old = this.#pods.get(key);
    if (!old) return false;
    this.#pods.delete(key);
    if (old.identity !== undefined) {
      const keys = this.#byIdentity.get(old.identity);
      keys?.delete(key);
      if (keys?.size === 0) this.#byIdentity.delete(old.identity);
    }
    return old.signature !== '';
  }

  /** Pods of an identity whose port tables are not all equal; empty where they agree. */
  divergingPods(identity: number): string[] {
    const keys = [...(this.#byIdentity.get(identity) ?? [])].sort();
    const signatures = new Set(keys.map((key) => this.#pods.get(key)!.signature));
    return signatures.size > 1 ? keys : [];
  }

  /** With `pod` that pod's own number; otherwise all numbers among the pods of the identity. */
  ofIdentity(identity: number, name: string, protocol: number, pod?: string): number[] {
    const keys = pod === undefined ? (this.#byIdentity.get(identity) ?? []) : [pod];
    return this.#numbers(keys, name, protocol);
  }

  ofAll(name: string, protocol: number): number[] {
    return this.#numbers(this.#pods.keys(), name, protocol);
  }

  #numbers(keys: Iterable<string>, name: string, protocol: number): number[] {
    const numbers = new Set<number>();
    for (const key of keys) {
      const port = this.#pods.get(key)?.ports.get(`${name}/${protocol}`);
      if (port !== undefined) numbers.add(port);
    }
    return [...numbers].sort((a, b) => a - b);
  }
}
