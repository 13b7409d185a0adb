// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** @throws AppError `bad-mac` */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) {
    throw new AppError('bad-mac', `not a MAC address: ${JSON.stringify(text)}`);
  }
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}
