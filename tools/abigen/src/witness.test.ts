// SPDX-License-Identifier: Apache-2.0
// Tested: the codecs read what C writes, member by member.
// How: a C program, compiled by the host compiler from the same headers, fills every struct through its member names;
// the codecs decode its bytes. Independent of BTF and of the generator's offsets. Skipped where gcc is missing.
import { describe, expect, test } from '@jest/globals';
import * as abi from '@cilium-ts/abi';
import { formatMac, fromMappedBytes } from '@cilium-ts/net';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { camelCase, pascalCase } from './emit.ts';

interface Member {
  struct: string;
  name: string;
  cType: string;
  size: number;
}

function members(): Member[] {
  return readFileSync('libs/abi/layout.lock', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((words) => words.length === 5 && !['struct', 'enum', 'map'].includes(words[0]!))
    .map(([struct, name, cType, size]) => ({
      struct: struct!,
      name: name!,
      cType: cType!,
      size: Number(size),
    }))
    .filter((member) => !/^pad\d*$/.test(member.name));
}

/** Every byte of the program is another one, so that no two members can be mistaken for each other. */
function patternByte(index: number, at: number): number {
  return (index * 37 + at * 11 + 1) & 0xff;
}

function statement(member: Member, index: number): string {
  const place = `witness.${member.name}`;
  if (member.cType.startsWith('struct_')) {
    return `for (int i = 0; i < ${member.size}; i++) ((unsigned char *)&${place})[i] = (${index} * 37 + i * 11 + 1) & 0xff;`;
  }
  const value = `0x${numberOf(member, index).toString(16)}ull`;
  return member.cType === 'be16_t' ? `${place} = htons(${value});` : `${place} = ${value};`;
}

function numberOf(member: Member, index: number): bigint {
  let value = 0n;
  for (let at = 0; at < member.size; at++) value = (value << 8n) | BigInt(patternByte(index, at));
  return value;
}

function expected(member: Member, index: number): unknown {
  const bytes = Uint8Array.from({ length: member.size }, (_, at) => patternByte(index, at));
  if (member.cType === 'struct_ip_addr') return fromMappedBytes(bytes);
  if (member.cType === 'struct_mac_addr') return formatMac(bytes);
  const value = numberOf(member, index);
  return member.size === 8 ? value : Number(value);
}

function source(all: Member[]): string {
  const structs = [...new Set(all.map((member) => member.struct))];
  const includes = ['abi', 'config']
    .flatMap((folder) => readdirSync(join('bpf', folder)).map((name) => join('bpf', folder, name)))
    .filter((path) => path.endsWith('.h') && !/layout_hash\.h|config\/config\.h/.test(path))
    .map((path) => `#include "${resolve(path)}"`);
  const blocks = structs.map((struct) =>
    [
      `{ struct ${struct} witness; memset(&witness, 0, sizeof(witness));`,
      ...all.flatMap((member, index) => (member.struct === struct ? [statement(member, index)] : [])),
      `print("${struct}", &witness, sizeof(witness)); }`,
    ].join('\n'),
  );
  return [
    '#include <stdio.h>',
    '#include <string.h>',
    '#include <arpa/inet.h>',
    '#include <linux/types.h>',
    ...includes,
    'static void print(const char *name, const void *bytes, unsigned long size)',
    '{ printf("%s ", name); for (unsigned long i = 0; i < size; i++) printf("%02x", ((unsigned char *)bytes)[i]); puts(""); }',
    'int main(void) {',
    ...blocks,
    'return 0; }',
  ].join('\n');
}

function runWitness(all: Member[]): Map<string, Uint8Array> {
  const work = mkdtempSync(join(tmpdir(), 'abi-witness-'));
  try {
    const program = join(work, 'witness');
    writeFileSync(`${program}.c`, source(all));
    execFileSync('gcc', ['-Wall', '-o', program, `${program}.c`], { stdio: 'pipe' });
    const lines = execFileSync(program, { encoding: 'utf8' }).trim().split('\n');
    return new Map(
      lines.map((line) => {
        const [name, hex] = line.split(' ');
        return [name!, Uint8Array.from(Buffer.from(hex!, 'hex'))];
      }),
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function hasCompiler(): boolean {
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('abi witness skipped: gcc is not installed');
    return false;
  }
}

(hasCompiler() ? describe : describe.skip)('abi witness', () => {
  test('every codec decodes and encodes what C writes', () => {
    const all = members();
    const written = runWitness(all);
    expect(written.size).toBeGreaterThan(25);
    for (const [struct, bytes] of written) {
      const codec = (abi as unknown as Record<string, abi.Codec<Record<string, unknown>>>)[
        `${pascalCase(struct)}Codec`
      ]!;
      const want = Object.fromEntries(
        all.flatMap((member, index) =>
          member.struct === struct ? [[camelCase(member.name), expected(member, index)]] : [],
        ),
      );
      expect([struct, bytes.length]).toEqual([struct, codec.size]);
      expect([struct, codec.decode(bytes, 0)]).toEqual([struct, want]);
      expect([struct, [...abi.encodeValue(codec, want)]]).toEqual([struct, [...bytes]]);
    }
  });
});
