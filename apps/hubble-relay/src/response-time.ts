// SPDX-License-Identifier: Apache-2.0
// Reads the time of an encoded GetFlowsResponse and leaves the rest alone: flows pass the relay as bytes, unknown fields
// of newer agents included.
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

const TIME = 1001;

/** Nanoseconds since the epoch; 0 where there is none. */
export function responseTime(bytes: Uint8Array): bigint {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === TIME && type === WireType.LengthDelimited) return timestampNanos(reader.bytes());
    reader.skip(type, field);
  }
  return 0n;
}

function timestampNanos(bytes: Uint8Array): bigint {
  const reader = new BinaryReader(bytes);
  let seconds = 0n;
  let nanos = 0;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) seconds = BigInt(reader.int64());
    else if (field === 2) nanos = reader.int32();
    else reader.skip(type, field);
  }
  return seconds * 1_000_000_000n + BigInt(nanos);
}
