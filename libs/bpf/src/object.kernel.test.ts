// SPDX-License-Identifier: Apache-2.0
// Tests loading objects, maps of every kind, pins and test runs against the running kernel.
// A sample object is compiled once; pins live in a bpffs of the test's own.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadNative } from '@cilium-ts/native';
import * as bpf from './index.ts';
import { compileBpf, temporaryBpffs } from './testing.ts';

const native = loadNative();
const testdata = join(process.cwd(), 'libs/bpf/testdata');
let sample: { path: string; remove: () => void };
let bpffs: { path: string; remove: () => void };
const objects: bpf.BpfObject[] = [];

const hashSpec = {
  name: 't_hash',
  typeNumber: bpf.MapType.hash,
  maxEntries: 64,
  flags: 0,
  keyCodec: bpf.u32Codec,
  valueCodec: bpf.u64Codec,
};
const innerSpec = {
  name: 't_inner',
  typeNumber: bpf.MapType.lpmTrie,
  maxEntries: 1,
  flags: bpf.MapFlag.noPrealloc,
  keyCodec: bpf.bytesCodec(8),
  valueCodec: bpf.u32Codec,
};
const outerSpec = {
  name: 't_outer',
  typeNumber: bpf.MapType.hashOfMaps,
  maxEntries: 4096,
  flags: 0,
  keyCodec: bpf.u32Codec,
  inner: innerSpec,
};
const counterSpec = { ...hashSpec, name: 't_counters', typeNumber: bpf.MapType.perCpuArray, maxEntries: 2 };
const packet = new Uint8Array(64);

async function load(options: bpf.LoadOptions = {}, path = sample.path): Promise<bpf.BpfObject> {
  const object = await bpf.BpfObject.load(native, path, options);
  objects.push(object);
  return object;
}

beforeAll(() => {
  sample = compileBpf(join(testdata, 'sample.bpf.c'));
  bpffs = temporaryBpffs(native);
});

afterAll(() => {
  for (const object of objects) object.close();
  bpffs.remove();
  sample.remove();
});

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

describe('BpfObject', () => {
  it('lists programs and maps and runs a program with patched constants', async () => {
    const object = await load({ constants: { config: words(0, 0, 42) }, expectedLayoutHash: 0x1234abcd });
    expect(object.programNames).toContain('t_verdict');
    expect(object.mapNames).toEqual(expect.arrayContaining(['t_hash', 't_ring', 't_outer']));
    const program = object.program('t_verdict');
    expect(program.testRun({ data: packet }).retval).toBe(42);
    expect((await program.testRunAsync({ data: packet, repeat: 10 })).retval).toBe(42);
    expect(program.info()).toMatchObject({ name: 't_verdict', type: bpf.ProgramType.schedCls });
    program.close();
  });

  it('refuses an object of another layout, naming both hashes', async () => {
    await expect(load({ expectedLayoutHash: 7 })).rejects.toMatchObject({
      code: 'layout-mismatch',
      message: expect.stringContaining('0x1234abcd'),
    });
  });

  it('carries the end of the verifier log and the name of the program it refused', async () => {
    const refused = compileBpf(join(testdata, 'refused.bpf.c'));
    const error: unknown = await load({}, refused.path).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'EACCES',
      syscall: 'bpf(BPF_PROG_LOAD)',
      subject: 'program t_refused',
    });
    expect((error as Error).message).toContain('invalid access to packet');
    refused.remove();
  });

  it.each([
    ['a missing file', '/nowhere.o', {}, /nowhere/],
    ['a file that is no object', '/etc/hostname', {}, /hostname/],
    ['an unknown program', undefined, { programs: ['t_nothing'] }, /t_nothing; it has t_emit/],
    ['an unknown constant', undefined, { constants: { nothing: new Uint8Array(4) } }, /nothing/],
    [
      'a constant of another size',
      undefined,
      { constants: { config: new Uint8Array(4) } },
      /4 bytes given, 12/,
    ],
    ['a size for an unknown map', undefined, { mapSizes: {}, reuse: { t_hash: { fd: 9999 } } }, /t_hash/],
  ])('says what is wrong with %s', async (_, path, options, message) => {
    await expect(load(options, path ?? sample.path)).rejects.toThrow(message);
  });

  it('loads only the programs asked for', async () => {
    const object = await load({ programs: ['t_verdict'] });
    expect(() => object.program('t_emit')).toThrow(/t_emit/);
    object.program('t_verdict').close();
  });
});

describe('pins', () => {
  it('keeps maps over loads, replaces one that does not fit any more and says why', async () => {
    const pinDirectory = join(bpffs.path, 'pins');
    const first = await load({ pinDirectory });
    expect(first.kept).toEqual([]);
    const map = first.map(hashSpec);
    map.set(5, 55n);
    map.close();

    const second = await load({ pinDirectory });
    expect(second.kept).toContain('t_hash');
    expect(second.replaced).toEqual([]);
    expect(second.map(hashSpec).get(5)).toBe(55n);

    const third = await load({ pinDirectory, mapSizes: { t_hash: 128 } });
    expect(third.replaced).toEqual([{ name: 't_hash', reason: 'entries 64, wanted 128' }]);
    expect(third.map(hashSpec).get(5)).toBeUndefined();
    const pinned = bpf.BpfMap.openPinned(native, join(pinDirectory, 't_hash'), hashSpec);
    expect(pinned.info.maxEntries).toBe(128);
    pinned.close();
  });

  it('replaces a pin of something else, and reopens pinned programs', async () => {
    const pinDirectory = join(bpffs.path, 'odd');
    mkdirSync(pinDirectory);
    const program = (await load()).program('t_verdict');
    const path = join(pinDirectory, 't_hash');
    program.pin(path);
    program.close();
    const reopened = bpf.BpfProgram.openPinned(native, path);
    expect(reopened.testRun({ data: packet }).retval).toBe(0);
    reopened.close();
    const object = await load({ pinDirectory });
    expect(object.replaced).toEqual([{ name: 't_hash', reason: expect.stringMatching(/type|is no map/) }]);
  });

  it('says that a directory is no bpffs', async () => {
    await expect(load({ pinDirectory: join(sample.path, '..', 'plain') })).rejects.toThrow(/BPF_OBJ_PIN/);
  });
});

describe('BpfMap', () => {
  it('gets, sets and deletes single elements', async () => {
    const map = bpf.BpfMap.create(native, hashSpec);
    expect(map.get(1)).toBeUndefined();
    map.set(1, 11n);
    map.set(1, 12n);
    expect(() => map.set(1, 13n, bpf.UpdateMode.create)).toThrow(/EEXIST/);
    expect(() => map.set(2, 13n, bpf.UpdateMode.replace)).toThrow(/ENOENT/);
    expect(map.get(1)).toBe(12n);
    expect(map.delete(1)).toBe(true);
    expect(map.delete(1)).toBe(false);
    map.close();
  });

  it('moves whole contents in batches and skips missing keys on delete', async () => {
    const map = bpf.BpfMap.create(native, hashSpec, { maxEntries: 20000 });
    await map.setMany(Array.from({ length: 20000 }, (_, i) => [i, BigInt(i) * 2n] as const));
    const entries = new Map(await map.entries());
    expect(entries.size).toBe(20000);
    expect(entries.get(777)).toBe(1554n);
    expect(await map.deleteMany([5, 99999, 6, 7, 99998])).toBe(3);
    expect((await map.entries()).length).toBe(19997);
    map.close();
  });

  it('names map, limits and errno when a map is full', async () => {
    const map = bpf.BpfMap.create(native, hashSpec);
    const entries = Array.from({ length: 100 }, (_, i) => [i, 0n] as const);
    await expect(map.setMany(entries)).rejects.toMatchObject({
      code: 'E2BIG',
      subject: expect.stringMatching(/t_hash.*64 entries/),
    });
    expect(() => map.set(1000, 1n)).toThrow(/E2BIG/);
    map.close();
  });

  it('refuses codecs that do not fit the map', () => {
    const map = bpf.BpfMap.create(native, hashSpec);
    const wrong = { ...hashSpec, valueCodec: bpf.u32Codec };
    expect(() => new bpf.BpfMap(native, map.fd, wrong)).toThrow(/values of 8 bytes, the codecs 4 and 4/);
    map.close();
  });

  it('shares the memory of a mmapable array with programs', async () => {
    const object = await load();
    const map = object.map({ ...hashSpec, name: 't_runtime' });
    const memory = new BigUint64Array(map.mmap());
    Atomics.store(memory, 0, 99n);
    const program = object.program('t_read_runtime');
    expect(program.testRun({ data: packet }).retval).toBe(99);
    expect(map.get(0)).toBe(99n);
    program.close();
    map.close();
  });

  it('adds up per-CPU values', async () => {
    const object = await load();
    const counters = object.perCpuMap(counterSpec);
    const program = object.program('t_count_a');
    for (let i = 0; i < 5; i++) program.testRun({ data: packet });
    expect(await counters.totals((sum, value) => sum + value)).toEqual([
      [0, 5n],
      [1, 0n],
    ]);
    counters.set(1, 3n);
    expect(counters.get(1)).toEqual(new Array(counters.cpus).fill(3n));
    expect(() => object.map(counterSpec)).toThrow(/per CPU/);
    program.close();
    counters.close();
  });

  it.each([
    ['no such type', { type: 999 }],
    ['a value of no bytes', { valueSize: 0 }],
    ['no entries', { maxEntries: 0 }],
  ])('refuses to create a map with %s', (_, wrong) => {
    const right = { type: 1, name: 'wrong', keySize: 4, valueSize: 4, maxEntries: 1 };
    expect(() => native.mapCreate({ ...right, ...wrong })).toThrow(/BPF_MAP_CREATE.*wrong.*EINVAL/);
  });
});

describe('OuterMap', () => {
  it('swaps complete inner maps under running programs', async () => {
    const object = await load();
    const outer = object.outerMap(outerSpec);
    const program = object.program('t_lookup');
    const ask = (): number => {
      const ctx = new Uint8Array(192);
      new DataView(ctx.buffer).setUint32(8, 3, true);
      return program.testRun({ data: packet, ctx }).retval;
    };
    expect(ask()).toBe(0);
    const key = words(32, 7);
    for (const value of [100, 200]) {
      const inner = await outer.createInner([[key, value]], 10);
      await outer.put([[3, inner]]);
      inner.close();
      expect(ask()).toBe(value);
    }
    const opened = outer.openInner(3)!;
    expect(opened.get(key)).toBe(200);
    opened.close();
    expect((await outer.entries()).map(([id]) => id)).toEqual([3]);
    expect(await outer.deleteMany([3, 4])).toBe(1);
    expect(ask()).toBe(0);
    program.close();
    outer.close();
  });

  it('takes a thousand inner maps in one batch', async () => {
    const outer = bpf.OuterMap.create(native, outerSpec);
    const inner = await outer.createInner([[words(32, 1), 1]]);
    await outer.put(Array.from({ length: 1000 }, (_, i) => [i, inner] as const));
    expect(await outer.entries()).toHaveLength(1000);
    inner.close();
    outer.close();
  });
});

describe('wrong arguments', () => {
  it.each([
    ['no argument', () => (native.mapInfo as (x?: unknown) => unknown)()],
    ['a descriptor that is no number', () => native.mapInfo({ fd: 'x' as unknown as number })],
    ['a fraction', () => native.mapInfo({ fd: 1.5 })],
    [
      'keys that are no bytes',
      () => native.mapUpdateBatch({ fd: 0, keys: 'x' as never, values: packet, count: 1 }),
    ],
    ['no object handle', () => native.objectLoad({ object: {} as never })],
    ['a string with a zero byte', () => native.bpfGet({ path: '/a\0b' })],
  ])('throws a TypeError on %s', (_, call) => {
    expect(call).toThrow(/argument `\w+`: expected/);
  });

  it('refuses batches longer than their buffers', () => {
    const map = bpf.BpfMap.create(native, hashSpec);
    const short = { fd: map.fd, keys: new Uint8Array(4), values: new Uint8Array(8), count: 2 };
    expect(() => native.mapUpdateBatch(short)).toThrow(/fewer bytes/);
    map.close();
  });

  it('rejects the asynchronous form with the same error', async () => {
    await expect(
      native.mapCreateAsync({ type: 999, name: 'x', keySize: 4, valueSize: 4, maxEntries: 1 }),
    ).rejects.toMatchObject({ code: 'EINVAL', syscall: 'bpf(BPF_MAP_CREATE)' });
  });
});
