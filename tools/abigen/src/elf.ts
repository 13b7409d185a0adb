// SPDX-License-Identifier: Apache-2.0

const SECTION_HEADER_SIZE = 64;

/** The bytes of one section of a little-endian ELF64 file. @throws Error when it is no such file or has no such section */
export function elfSection(file: Uint8Array, wanted: string): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new Error('not a little-endian ELF64 file');
  }
  const table = Number(view.getBigUint64(0x28, true));
  const count = view.getUint16(0x3c, true);
  const namesIndex = view.getUint16(0x3e, true);
  const section = (index: number): { name: number; bytes: Uint8Array } => {
    const at = table + index * SECTION_HEADER_SIZE;
    const offset = Number(view.getBigUint64(at + 24, true));
    const size = Number(view.getBigUint64(at + 32, true));
    return { name: view.getUint32(at, true), bytes: file.subarray(offset, offset + size) };
  };
  const names = section(namesIndex).bytes;
  for (let i = 0; i < count; i++) {
    const { name, bytes } = section(i);
    if (cString(names, name) === wanted) return bytes;
  }
  throw new Error(`no ELF section ${wanted}`);
}

export function cString(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return Buffer.from(bytes.subarray(offset, end < 0 ? bytes.length : end)).toString('latin1');
}
