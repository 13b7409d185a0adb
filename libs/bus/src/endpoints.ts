// SPDX-License-Identifier: Apache-2.0

/** The part of an EndpointSlice that leads to a server. */
export interface SliceLike {
  readonly metadata: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  };
  readonly endpoints?:
    | readonly {
        readonly addresses?: readonly string[];
        readonly conditions?: { readonly ready?: boolean | undefined } | undefined;
      }[]
    | undefined;
  readonly ports?:
    readonly { readonly name?: string | undefined; readonly port?: number | undefined }[] | undefined;
}

const DEFAULT_PORT = 4222;

/**
 * Addresses of the NATS Service, from its EndpointSlices: no DNS and no Service address, which may depend on what NATS
 * carries. Not ready ones are kept at the end: trying is harmless.
 */
export class NatsEndpoints {
  readonly #slices = new Map<string, SliceLike>();
  readonly #onChange: () => void;
  #addresses: readonly string[] = [];

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  upsert(slice: SliceLike): void {
    this.#slices.set(slice.metadata.name ?? '', slice);
    this.#update();
  }

  delete(slice: SliceLike): void {
    this.#slices.delete(slice.metadata.name ?? '');
    this.#update();
  }

  #update(): void {
    const ready = new Set<string>();
    const others = new Set<string>();
    for (const slice of this.#slices.values()) {
      const ports = slice.ports ?? [];
      const port = (ports.find(({ name }) => name === 'nats') ?? ports[0])?.port ?? DEFAULT_PORT;
      for (const endpoint of slice.endpoints ?? []) {
        const into = endpoint.conditions?.ready === false ? others : ready;
        for (const address of endpoint.addresses ?? []) {
          into.add(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
        }
      }
    }
    const next = [...ready, ...[...others].filter((address) => !ready.has(address))];
    if (next.join() === this.#addresses.join()) return;
    this.#addresses = next;
    this.#onChange();
  }
}
