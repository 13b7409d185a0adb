// SPDX-License-Identifier: Apache-2.0

const EXPIRY_NS = 3_600_000_000_000n;

/** Namespaces that had flows within the last hour. */
export class SeenNamespaces {
  readonly #lastSeen = new Map<string, bigint>();

  see(namespace: string | undefined, now: bigint): void {
    if (namespace) this.#lastSeen.set(namespace, now);
  }

  list(now: bigint): string[] {
    for (const [name, seen] of this.#lastSeen) if (now - seen > EXPIRY_NS) this.#lastSeen.delete(name);
    return [...this.#lastSeen.keys()].sort();
  }
}
