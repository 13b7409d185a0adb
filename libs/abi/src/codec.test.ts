// SPDX-License-Identifier: Apache-2.0
// Tested: generated codecs carry values through bytes and back, with the byte order that the kernel expects.
// How: encode, look at single bytes, decode, compare.
import { describe, expect, test } from '@jest/globals';
import {
  CtEntryCodec,
  CtKeyCodec,
  DropReason,
  DropReasonNames,
  EndpointValueCodec,
  PacketEventCodec,
  PacketEventOffsets,
  PolicyKeyCodec,
  RuntimeConfigCodec,
  encodeValue,
  policyMap,
  readU32,
} from './index.ts';

describe('generated codecs', () => {
  test('ports are written in network byte order', () => {
    const bytes = encodeValue(PolicyKeyCodec, {
      prefixlen: 64,
      identity: 7,
      direction: 1,
      protocol: 6,
      port: 8080,
    });
    expect([...bytes.subarray(10)]).toEqual([0x1f, 0x90]);
    expect(PolicyKeyCodec.decode(bytes, 0).port).toBe(8080);
  });

  test('an IPv4 address is stored in its mapped form and read back as IPv4', () => {
    const key = { low: '10.0.0.1', high: 'fd00::1', portLow: 1, portHigh: 65535, protocol: 6, kind: 0 };
    const bytes = encodeValue(CtKeyCodec, key);
    expect([...bytes.subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]);
    expect(CtKeyCodec.decode(bytes, 0)).toEqual(key);
  });

  test('no address is the empty text', () => {
    const value = {
      identity: 300,
      ruleSet: 1,
      id: 12,
      flags: 0,
      mac: '02:00:00:00:00:01',
      nodeMac: '',
      ipv4: '10.0.0.9',
      ipv6: '',
    };
    const decoded = EndpointValueCodec.decode(encodeValue(EndpointValueCodec, value), 0);
    expect(decoded).toEqual({ ...value, nodeMac: '00:00:00:00:00:00' });
  });

  test('64-bit members are bigint and survive above 2^53', () => {
    const value = { policyEpoch: 0xfedcba9876543210n, auditMode: 1 };
    expect(RuntimeConfigCodec.decode(encodeValue(RuntimeConfigCodec, value), 0)).toEqual(value);
  });

  test('encode clears what was in the buffer before', () => {
    const bytes = new Uint8Array(CtEntryCodec.size + 8).fill(0xff);
    const zero = CtEntryCodec.decode(new Uint8Array(CtEntryCodec.size), 0);
    CtEntryCodec.encode(bytes, 4, zero);
    expect(bytes.subarray(4, 4 + CtEntryCodec.size).every((byte) => byte === 0)).toBe(true);
    expect(bytes[3]).toBe(0xff);
    expect(bytes[4 + CtEntryCodec.size]).toBe(0xff);
  });

  test('offsets point at the same bytes as the codec', () => {
    const event = PacketEventCodec.decode(new Uint8Array(PacketEventCodec.size), 0);
    const bytes = encodeValue(PacketEventCodec, { ...event, origin: 0x01020304 });
    expect(readU32(bytes, PacketEventOffsets.origin)).toBe(0x01020304);
  });

  test('enums have names for their numbers', () => {
    expect(DropReasonNames[DropReason.DROP_POLICY_DENIED]).toBe('DROP_POLICY_DENIED');
  });

  test('the policy map knows the form of its inner maps', () => {
    expect(policyMap.inner.keyCodec).toBe(PolicyKeyCodec);
    expect(policyMap.inner.type).toBe('lpm_trie');
  });
});
