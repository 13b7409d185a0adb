// SPDX-License-Identifier: Apache-2.0
import { addressToBytes, bytesToAddress, parsePrefix } from '@cilium-ts/net';

/** First address of a pod CIDR, the gateway of its pods; undefined where the text is no prefix. */
export function gatewayOf(cidr: string): string | undefined {
  const prefix = parsePrefix(cidr);
  if (!prefix) return undefined;
  const bytes = addressToBytes(prefix.address);
  bytes[bytes.length - 1] = bytes.at(-1)! | 1;
  return bytesToAddress(bytes);
}
