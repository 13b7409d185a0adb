// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';
import { addressToBytes, bytesToAddress, parsePrefix, type AddressFamily } from '@cilium-ts/net';

/** At most this many addresses of a prefix are handed out; an IPv6 /64 has more than anyone wants. */
const SIZE_MAX = 65_536;

export interface PoolStatus {
  readonly cidr: string;
  readonly family: AddressFamily;
  readonly allocated: number;
  readonly size: number;
}

/** Addresses of one pod CIDR. Network address, gateway (first) and broadcast address are never given out. */
export class AddressPool {
  readonly cidr: string;
  readonly family: AddressFamily;
  readonly #base: Uint8Array;
  readonly #size: number;
  readonly #owners = new Map<string, string>();
  #next = 2;

  constructor(cidr: string) {
    const prefix = parsePrefix(cidr);
    if (!prefix) throw new AppError('bad-pod-cidr', `not a pod CIDR: ${JSON.stringify(cidr)}`);
    this.cidr = cidr;
    this.family = prefix.family;
    this.#base = addressToBytes(prefix.address);
    const bits = (prefix.family === 4 ? 32 : 128) - prefix.bits;
    this.#size = bits >= 16 ? SIZE_MAX : 2 ** bits;
    if (this.#size < 4)
      throw new AppError('bad-pod-cidr', `pod CIDR ${cidr} is too small: at least four addresses`);
  }

  #address(offset: number): string {
    const bytes = Uint8Array.from(this.#base);
    const last = bytes.length - 1;
    bytes[last] = bytes[last]! + (offset & 0xff);
    bytes[last - 1] = bytes[last - 1]! + (offset >> 8);
    return bytesToAddress(bytes);
  }

  /** A free address, one that was not used for long first. @throws AppError `no-addresses` */
  allocate(owner: string): string {
    const usable = this.#size - 3;
    for (let tried = 0; tried < usable; tried++) {
      const offset = this.#next;
      this.#next = this.#next + 1 >= this.#size - 1 ? 2 : this.#next + 1;
      const address = this.#address(offset);
      if (this.#owners.has(address)) continue;
      this.#owners.set(address, owner);
      return address;
    }
    throw new AppError('no-addresses', `no free address in ${this.cidr}: ${this.#owners.size} in use`);
  }

  /** Takes this very address; false where somebody else has it. */
  claim(address: string, owner: string): boolean {
    const holder = this.#owners.get(address);
    if (holder !== undefined && holder !== owner) return false;
    this.#owners.set(address, owner);
    return true;
  }

  release(address: string, owner: string): void {
    if (this.#owners.get(address) === owner) this.#owners.delete(address);
  }

  allocations(): ReadonlyMap<string, string> {
    return this.#owners;
  }

  status(): PoolStatus {
    return { cidr: this.cidr, family: this.family, allocated: this.#owners.size, size: this.#size - 3 };
  }
}

/** All pod CIDRs of the node: one address per family for each pod. */
export class Ipam {
  readonly pools: readonly AddressPool[];

  constructor(cidrs: readonly string[]) {
    this.pools = cidrs.map((cidr) => new AddressPool(cidr));
    if (this.pools.length === 0) throw new AppError('no-pod-cidr', 'this Node has no spec.podCIDRs');
  }

  allocate(owner: string): { ipv4: string; ipv6: string } {
    const taken: [AddressPool, string][] = [];
    try {
      for (const family of [4, 6] as const) {
        const pool = this.pools.find((candidate) => candidate.family === family);
        if (pool) taken.push([pool, pool.allocate(owner)]);
      }
    } catch (error) {
      for (const [pool, address] of taken) pool.release(address, owner);
      throw error;
    }
    const of = (family: AddressFamily): string => taken.find(([pool]) => pool.family === family)?.[1] ?? '';
    return { ipv4: of(4), ipv6: of(6) };
  }

  claim(address: string, owner: string): boolean {
    const pool = this.pools.find((candidate) => candidate.family === (address.includes(':') ? 6 : 4));
    return address === '' || (pool?.claim(address, owner) ?? false);
  }

  release(address: string, owner: string): void {
    for (const pool of this.pools) pool.release(address, owner);
  }
}
