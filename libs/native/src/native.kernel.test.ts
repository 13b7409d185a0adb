// SPDX-License-Identifier: Apache-2.0
// Tests the add-on's own behaviour: finding it, its errors, its threads and what it leaves behind.
// Worker threads load it a second time and end without cleaning up.
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from '@jest/globals';
import { isSystemError, loadNative } from './index.ts';
import { processResources, uniqueName } from './testing.ts';

const native = loadNative();
const file = join(process.cwd(), 'dist', 'native', 'cilium_native.node');

function inWorker(code: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const source = `const native = require(${JSON.stringify(process.env['CILIUM_TS_NATIVE'] ?? file)});${code}`;
    const worker = new Worker(source, { eval: true });
    worker.on('error', reject);
    worker.on('exit', resolve);
  });
}

describe('loadNative', () => {
  it('names the file it did not find and how to build it', () => {
    expect(() => loadNative({ path: '/nowhere/x.node' })).toThrow(/\/nowhere\/x\.node.*make -C libs\/native/);
  });

  it('says which file cannot be loaded', () => {
    expect(() => loadNative({ path: '/etc/hostname' })).toThrow(/cannot load \/etc\/hostname/);
  });
});

describe('errors', () => {
  it('carry errno, system call and subject', () => {
    const attempt = (): unknown => native.fdOpen({ path: '/nowhere' });
    expect(attempt).toThrow('open /nowhere: ENOENT (No such file or directory)');
    try {
      attempt();
    } catch (error) {
      expect(isSystemError(error, 'ENOENT')).toBe(true);
      expect(isSystemError(error, 'EPERM')).toBe(false);
      expect(error).toMatchObject({ errno: 2, syscall: 'open', subject: '/nowhere' });
    }
    expect(isSystemError(new Error('other'))).toBe(false);
  });
});

describe('unloading', () => {
  it('joins the ring reader of a worker that ended without stopping it', async () => {
    const ring = `
      const fd = native.mapCreate({ type: 27, name: 'ring', keySize: 0, valueSize: 0, maxEntries: 4096 });
      globalThis.keep = native.ringOpen(fd, () => {});
      native.fdClose({ fd });
    `;
    await inWorker(`${ring} process.exit(3);`);
    const before = processResources();
    for (let i = 0; i < 5; i++) await inWorker(ring);
    expect(processResources()).toEqual(before);
  });

  it('survives a worker that ends while operations run', async () => {
    for (let i = 0; i < 5; i++) {
      await inWorker(
        `for (let i = 0; i < 50; i++) native.interfaceIndexAsync({ name: 'lo' }); process.exit(0);`,
      );
    }
    expect(native.interfaceIndex({ name: 'lo' })).toBe(1);
  });

  it('refuses a descriptor that is no ring without leaving anything behind', () => {
    const before = processResources();
    for (let i = 0; i < 20; i++) expect(() => native.ringOpen(0, () => undefined)).toThrow(/no ring buffer/);
    expect(processResources()).toEqual(before);
  });
});

describe('memory', () => {
  it('gives freed memory back, and says so', async () => {
    expect(typeof native.memoryTrim({})).toBe('boolean');
    await expect(native.memoryTrimAsync({})).resolves.toEqual(expect.any(Boolean));
  });
});

describe('mounts and file systems', () => {
  it('mounts, recognizes and unmounts a bpffs', async () => {
    const path = mkdtempSync(join(tmpdir(), uniqueName('m')));
    await native.mountAsync({ source: 'none', target: path, type: 'bpf' });
    expect(native.filesystemMagic({ path })).toBe(0xcafe4a11);
    native.umount({ target: path });
    expect(() => native.umount({ target: path })).toThrow(/umount2 .*EINVAL/);
    rmdirSync(path);
  });
});

describe('namespaces', () => {
  it('leaves the namespace of the process alone', async () => {
    const path = `/run/netns/${uniqueName('x')}`;
    native.netnsCreate({ path });
    const indexes = await Promise.all(
      Array.from({ length: 20 }, () => native.interfaceIndexAsync({ name: 'lo', netns: path })),
    );
    expect(new Set(indexes)).toEqual(new Set([1]));
    expect(native.readFile({ path: '/proc/self/net/dev' })).toBe(
      native.readFile({ path: '/proc/thread-self/net/dev' }),
    );
    const fd = native.fdOpen({ path });
    expect(native.interfaceIndex({ name: 'lo', netns: fd })).toBe(1);
    native.fdClose({ fd });
    native.netnsDelete({ path });
    expect(() => native.interfaceIndex({ name: 'lo', netns: path })).toThrow(/network namespace .*ENOENT/);
  });
});
