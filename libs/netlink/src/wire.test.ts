// SPDX-License-Identifier: Apache-2.0
// Tests netlink messages as bytes, against themselves and against hand-made or damaged input.
// No socket is opened.
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { networkPrefix, splitPrefix } from './request.ts';
import { Attributes, decodeError, decodeMessages, encodeMessage, NLMSG_ERROR, Writer } from './wire.ts';

describe('messages', () => {
  it('come back as they were written', () => {
    const body = new Writer().u8(1).u8(2).u16(3).u32(4).attributeText(3, 'eth0').bytes();
    const two = Buffer.concat([encodeMessage(16, 5, 7, body), encodeMessage(20, 6, 8, Uint8Array.of(1))]);
    const messages = decodeMessages(two);
    expect(messages.map(({ type, flags, sequence }) => [type, flags, sequence])).toEqual([
      [16, 5, 7],
      [20, 6, 8],
    ]);
    expect(new Attributes(messages[0]!.body.subarray(8)).text(3)).toBe('eth0');
  });

  it('of any bytes are read without failing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const message of decodeMessages(bytes)) new Attributes(message.body).nested(1).u32(2);
      }),
    );
  });

  it('carry nested attributes of any size', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), (bytes) => {
        const written = new Writer().nested(1, (list) => list.attribute(2, bytes).attributeU32(3, 9)).bytes();
        const read = new Attributes(written).nested(1);
        expect(Buffer.from(read.bytes(2)!)).toEqual(Buffer.from(bytes));
        expect(read.u32(3)).toBe(9);
      }),
    );
  });

  it('say why the kernel refused', () => {
    const body = new Writer().u32(-22).raw(new Uint8Array(16)).attributeText(1, 'bad gateway').bytes();
    const [message] = decodeMessages(encodeMessage(NLMSG_ERROR, 0x300, 1, body));
    expect(decodeError(message!)).toEqual({ errno: 22, reason: 'bad gateway' });
  });
});

describe('prefixes', () => {
  it('keep or clear host bits', () => {
    expect([...splitPrefix('10.1.2.3/20').bytes]).toEqual([10, 1, 2, 3]);
    expect([...networkPrefix('10.1.2.3/20').bytes]).toEqual([10, 1, 0, 0]);
    expect([...networkPrefix('10.1.2.3/31').bytes]).toEqual([10, 1, 2, 2]);
    expect(networkPrefix('10.1.2.3')).toMatchObject({ bits: 32 });
    expect([...networkPrefix('fd00::ffff/0').bytes]).toEqual(new Array(16).fill(0));
  });

  it.each(['10.0.0.0/33', '10.0.0.0/x', '10.0.0.0/-1', 'nothing/8', 'fd00::/129'])('refuse %s', (text) => {
    expect(() => splitPrefix(text)).toThrow();
  });
});
