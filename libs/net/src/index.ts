// SPDX-License-Identifier: Apache-2.0
export {
  addressFamily,
  bytesToAddress,
  addressToBytes,
  formatAddressPort,
  isAddress,
  mappedBytes,
  mappedPrefixLength,
  fromMappedBytes,
  normalizeAddress,
  parseAddress,
  type AddressFamily,
} from './address.ts';
export { formatPrefix, parsePrefix, prefixContains, prefixContainsAddress, type Prefix } from './prefix.ts';
export { PROTOCOL_NAMES, protocolName, protocolNumber } from './protocol.ts';
export { formatMac, parseMac } from './mac.ts';
