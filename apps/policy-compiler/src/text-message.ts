// SPDX-License-Identifier: Apache-2.0
// The protobuf message `Json { string json = 1; }`, which all calls of the service exchange.

/** Field 1, length-delimited. */
const TAG = 0x0a;

export function encodeText(text: string): Buffer {
  const body = Buffer.from(text, 'utf8');
  const header = [TAG];
  for (let length = body.length; ; length = Math.floor(length / 128)) {
    header.push(length > 127 ? (length % 128) | 0x80 : length);
    if (length <= 127) break;
  }
  return Buffer.concat([Buffer.from(header), body]);
}

/** @throws RangeError where the bytes are not such a message */
export function decodeText(bytes: Buffer): string {
  if (bytes.length === 0) return '';
  if (bytes[0] !== TAG) throw new RangeError('expected field 1 of type string');
  let length = 0;
  let at = 1;
  for (let shift = 1; ; shift *= 128, at++) {
    const byte = bytes[at];
    if (byte === undefined || at > 5) throw new RangeError('truncated length');
    length += (byte & 0x7f) * shift;
    if (byte < 0x80) break;
  }
  return bytes.toString('utf8', at + 1, at + 1 + length);
}
