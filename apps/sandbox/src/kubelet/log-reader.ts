// SPDX-License-Identifier: Apache-2.0
import { watch } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';

export interface LogOptions {
  readonly follow: boolean;
  readonly tailLines: number | undefined;
  /** Only lines at or after this time (milliseconds since the epoch). */
  readonly sinceMs: number | undefined;
  readonly timestamps: boolean;
  readonly limitBytes: number | undefined;
}

export interface LogSource {
  /** More can come. */
  readonly running: () => boolean;
  /** Resolves when no more can come. */
  readonly ended: Promise<unknown>;
}

interface Reading {
  readonly path: string;
  readonly handle: FileHandle;
  readonly options: LogOptions;
  readonly out: Writable;
  readonly source: LogSource;
  readonly filter: LineFilter;
}

interface LogLine {
  readonly time: string;
  readonly text: string;
  /** False: the next line of the file goes on with it. */
  readonly whole: boolean;
}

function parseLine(line: string): LogLine | undefined {
  const time = line.indexOf(' ');
  const stream = line.indexOf(' ', time + 1);
  const tag = line.indexOf(' ', stream + 1);
  if (time < 0 || stream < 0 || tag < 0) return undefined;
  return { time: line.slice(0, time), whole: line.slice(stream + 1, tag) === 'F', text: line.slice(tag + 1) };
}

/**
 * Writes a container's log as `kubectl logs` shows it. `running` says whether more can come; `ended` resolves when it
 * cannot. Resolves at the end of the log, or when the reader is gone.
 */
export async function writeLog(
  path: string,
  options: LogOptions,
  out: Writable,
  source: LogSource,
): Promise<void> {
  const handle = await open(path, 'r');
  const reading: Reading = { path, handle, options, out, source, filter: new LineFilter(options, out) };
  try {
    const start = options.tailLines === undefined ? 0 : await writeTail(reading, options.tailLines);
    if (options.tailLines === undefined || options.follow) await readOn(reading, start);
  } finally {
    await handle.close().catch(() => undefined);
  }
}

/** Writes the last lines; returns the position behind the last complete one. */
async function writeTail({ handle, filter }: Reading, count: number): Promise<number> {
  const text = await handle.readFile('utf8');
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  const lines = complete.split('\n').slice(0, -1);
  for (const line of lines.slice(lastLines(lines, count))) if (!filter.line(line)) break;
  return Buffer.byteLength(complete);
}

/** Index of the first of the last `count` whole lines; parts of one line count as one. */
function lastLines(lines: readonly string[], count: number): number {
  let at = lines.length;
  for (let seen = 0; at > 0; at--) {
    if (parseLine(lines[at - 1] ?? '')?.whole !== false && ++seen > count) break;
  }
  return at;
}

async function readOn(reading: Reading, start: number): Promise<void> {
  const { path, handle: first, options, filter, source, out } = reading;
  let handle = first;
  let position = start;
  let rest = Buffer.alloc(0);
  const signal = new ChangeSignal(path);
  void source.ended.then(() => signal.fire());
  out.once('close', () => signal.fire());
  const buffer = Buffer.alloc(65_536);
  try {
    for (;;) {
      // Asked before reading: what was written before the end is still read.
      const more = source.running();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
      if (out.destroyed) return;
      if (bytesRead > 0) {
        position += bytesRead;
        rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = rest.lastIndexOf(10) + 1;
        for (const line of rest.subarray(0, end).toString().split('\n').slice(0, -1))
          if (!filter.line(line)) return;
        rest = rest.subarray(end);
        if (out.writableNeedDrain)
          await new Promise((resolve) => out.once('drain', resolve).once('close', resolve));
        continue;
      }
      if (await wasRotated(path, handle)) {
        const next = await open(path, 'r').catch(() => undefined);
        if (next) {
          if (handle !== first) await handle.close();
          handle = next;
          position = 0;
          continue;
        }
      }
      if (!options.follow || !more) return;
      await signal.next();
    }
  } finally {
    signal.close();
    if (handle !== first) await handle.close().catch(() => undefined);
  }
}

async function wasRotated(path: string, handle: FileHandle): Promise<boolean> {
  const [now, open] = await Promise.all([stat(path).catch(() => undefined), handle.stat()]);
  return now !== undefined && now.ino !== open.ino;
}

/** Something happened since the last look. */
class ChangeSignal {
  readonly #watcher: ReturnType<typeof watch> | undefined;
  #fired = false;
  #waiting: (() => void) | undefined;

  constructor(path: string) {
    try {
      this.#watcher = watch(path, () => this.fire());
      this.#watcher.on('error', () => undefined);
    } catch {
      // The file went: the end of the container wakes the reader.
    }
  }

  fire(): void {
    this.#fired = true;
    this.#waiting?.();
  }

  async next(): Promise<void> {
    if (!this.#fired) await new Promise<void>((resolve) => (this.#waiting = resolve));
    this.#fired = false;
    this.#waiting = undefined;
  }

  close(): void {
    this.#watcher?.close();
  }
}

class LineFilter {
  readonly #options: LogOptions;
  readonly #out: Writable;
  #left: number;
  #midLine = false;

  constructor(options: LogOptions, out: Writable) {
    this.#options = options;
    this.#out = out;
    this.#left = options.limitBytes ?? Infinity;
  }

  /** False: nothing more is wanted. */
  line(raw: string): boolean {
    const line = parseLine(raw);
    if (!line) return true;
    const { sinceMs, timestamps } = this.#options;
    if (sinceMs !== undefined && Date.parse(line.time) < sinceMs) return true;
    const head = timestamps && !this.#midLine ? `${line.time} ` : '';
    this.#midLine = !line.whole;
    const bytes = Buffer.from(`${head}${line.text}${line.whole ? '\n' : ''}`);
    const part = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes;
    this.#left -= part.length;
    this.#out.write(part);
    return this.#left > 0 && !this.#out.destroyed;
  }
}
