// SPDX-License-Identifier: Apache-2.0
// Reading CRI log files: tail, time, limits, long lines, and following a file that grows and is rotated.
import { afterAll, describe, expect, it } from '@jest/globals';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { PassThrough } from 'node:stream';
import { writeLog, type LogOptions } from './log-reader.ts';

const dir = mkdtempSync(`${tmpdir()}/ctst-log-`);
afterAll(() => rmSync(dir, { recursive: true }));

const plain: LogOptions = {
  follow: false,
  tailLines: undefined,
  sinceMs: undefined,
  timestamps: false,
  limitBytes: undefined,
};
const stamp = (second: number): string => `2026-01-01T00:00:0${second}.000000000Z`;
const line = (second: number, text: string, tag = 'F'): string => `${stamp(second)} stdout ${tag} ${text}\n`;
const over = { running: () => false, ended: Promise.resolve() };
let count = 0;

function file(content: string): string {
  const path = `${dir}/${count++}.log`;
  writeFileSync(path, content);
  return path;
}

async function read(path: string, more: Partial<LogOptions>): Promise<string> {
  const out = new PassThrough();
  let text = '';
  out.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await writeLog(path, { ...plain, ...more }, out, over);
  out.end();
  await new Promise((resolve) => out.once('end', resolve));
  return text;
}

describe('writeLog', () => {
  const three = line(1, 'one') + line(2, 'tw', 'P') + line(2, 'o') + line(3, 'three');

  it('joins parts of long lines and shows the last lines asked for', async () => {
    const path = file(three);
    expect(await read(path, {})).toBe('one\ntwo\nthree\n');
    expect(await read(path, { tailLines: 2 })).toBe('two\nthree\n');
    expect(await read(path, { tailLines: 0 })).toBe('');
  });

  it('honours time, timestamps and the limit of bytes', async () => {
    const path = file(three);
    expect(await read(path, { sinceMs: Date.parse(stamp(3)) })).toBe('three\n');
    expect(await read(path, { timestamps: true, tailLines: 2 })).toBe(`${stamp(2)} two\n${stamp(3)} three\n`);
    expect(await read(path, { limitBytes: 5 })).toBe('one\nt');
  });

  it('follows over a rotation until the container ends', async () => {
    const path = file(line(1, 'old'));
    const out = new PassThrough();
    const seen: string[] = [];
    let wake: () => void = () => undefined;
    out.on('data', (chunk: Buffer) => {
      seen.push(chunk.toString());
      wake();
    });
    const until = async (text: string): Promise<void> => {
      while (!seen.join('').includes(text)) await new Promise<void>((resolve) => (wake = resolve));
    };
    let end: () => void = () => undefined;
    let running = true;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const work = writeLog(path, { ...plain, follow: true }, out, { running: () => running, ended });
    await until('old');
    appendFileSync(path, line(2, 'new'));
    await until('new');
    renameSync(path, `${path}.1`);
    writeFileSync(path, line(3, 'rotated'));
    await until('rotated');
    running = false;
    end();
    await work;
    expect(seen.join('')).toBe('old\nnew\nrotated\n');
  });
});
