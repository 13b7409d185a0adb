// SPDX-License-Identifier: Apache-2.0
// Ports as the policy map keys them: masked blocks, one number per block.

export interface PortBlock {
  readonly port: number;
  /** Leading bits of `port` that must match; the others are 0. */
  readonly portPrefix: number;
}

/** Splits an inclusive port range into masked blocks; the whole range is one block of prefix 0. */
export function maskedPorts(from: number, to: number): PortBlock[] {
  const blocks: PortBlock[] = [];
  let start = from;
  while (start <= to) {
    let size = 1;
    let prefix = 16;
    while (prefix > 0 && start % (size * 2) === 0 && start + size * 2 - 1 <= to) {
      size *= 2;
      prefix--;
    }
    blocks.push({ port: start, portPrefix: prefix });
    start += size;
  }
  return blocks;
}

/** One small integer for protocol, prefix and port; 0 for protocol 0, which covers everything. */
export function blockKey(protocol: number, port: number, portPrefix: number): number {
  return protocol === 0 ? 0 : ((protocol << 5) + portPrefix) * 65536 + port;
}

/** Keys of all blocks that cover this one, widest first, itself last. */
export function coveringKeys(protocol: number, port: number, portPrefix: number): number[] {
  const keys = [0];
  if (protocol === 0) return keys;
  for (let prefix = 0; prefix <= portPrefix; prefix++) {
    const mask = prefix === 0 ? 0 : ~((1 << (16 - prefix)) - 1) & 0xffff;
    keys.push(blockKey(protocol, port & mask, prefix));
  }
  return keys;
}

/** How much of protocol and port a key names: 0, 8 or 8 + prefix bits. */
export function blockBits(protocol: number, portPrefix: number): number {
  return protocol === 0 ? 0 : 8 + portPrefix;
}
