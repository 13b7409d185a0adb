// SPDX-License-Identifier: Apache-2.0
import { createInflate, type Inflate } from 'node:zlib';
import type { Duplex } from 'node:stream';

// SPDY/3.1 as far as Kubernetes port forwarding uses it: streams with headers and half-close, pings,
// resets. Its clients do no flow control, so neither side sends WINDOW_UPDATE.

const WORDS =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age ' +
  'allow authorization cache-control connection content-base content-encoding content-language content-length ' +
  'content-location content-md5 content-range content-type date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma ' +
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status 200|OK version HTTP/1.1 url public set-cookie ' +
  'keep-alive origin';
const TAIL =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 ' +
  'Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 ' +
  'Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr ' +
  'May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, ' +
  'GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,' +
  'text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

/** The header dictionary of SPDY/3: length-prefixed names, then text. */
export function spdyDictionary(): Buffer {
  const words = WORDS.split(' ').map((word) => Buffer.from(word.replace('|', ' ')));
  const parts = words.flatMap((word) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(word.length);
    return [length, word];
  });
  return Buffer.concat([...parts, Buffer.from(TAIL)]);
}

/** One stream that the client opened. Callbacks are set by the owner before the next frame is read. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  onData: (chunk: Buffer) => void;
  /** The client will send no more. */
  onEnd: () => void;
  /** The client reset the stream, or the connection is gone. */
  onClose: () => void;
  /** Returns false when the connection's buffer is full; wait for `SpdyConnection.onDrain`. */
  write(chunk: Uint8Array): boolean;
  end(): void;
  reset(): void;
}

const TYPE = { synStream: 1, synReply: 2, reset: 3, ping: 6, goAway: 7 } as const;
const FLAG_FIN = 1;
const CANCEL = 5;
const MAX_DATA = 1 << 20;

/** The server's side of one SPDY/3.1 connection over any duplex byte stream. */
export class SpdyConnection {
  private readonly streams = new Map<number, SpdyStream>();
  private readonly inflate: Inflate;
  private inflated: Buffer[] = [];
  private readonly waitingForDrain = new Set<() => void>();
  private pending: Buffer = Buffer.alloc(0);
  private work: Promise<void> = Promise.resolve();
  private readonly duplex: Duplex;
  private readonly onStream: (stream: SpdyStream) => void;
  private repliedBefore = false;

  constructor(duplex: Duplex, onStream: (stream: SpdyStream) => void) {
    this.duplex = duplex;
    this.onStream = onStream;
    this.inflate = createInflate({ dictionary: spdyDictionary() });
    this.inflate.on('data', (chunk: Buffer) => this.inflated.push(chunk));
    this.inflate.on('error', () => duplex.destroy());
    duplex.on('data', (chunk: Buffer) => {
      duplex.pause();
      this.work = this.work
        .then(() => this.feed(chunk))
        .then(
          () => void duplex.resume(),
          () => void duplex.destroy(),
        );
    });
    duplex.on('drain', () => this.drained());
    duplex.on('error', () => duplex.destroy());
    duplex.on('close', () => this.shutdown());
  }

  /** Calls `listener` once when writing is possible again. */
  onDrain(listener: () => void): void {
    this.waitingForDrain.add(listener);
  }

  private drained(): void {
    const listeners = [...this.waitingForDrain];
    this.waitingForDrain.clear();
    for (const listener of listeners) listener();
  }

  private shutdown(): void {
    this.inflate.destroy();
    const open = [...this.streams.values()];
    this.streams.clear();
    for (const stream of open) stream.onClose();
  }

  private async feed(chunk: Buffer): Promise<void> {
    let bytes = this.pending.length > 0 ? Buffer.concat([this.pending, chunk]) : chunk;
    while (bytes.length >= 8) {
      const length = bytes.readUIntBE(5, 3);
      if (bytes.length < 8 + length) break;
      const body = bytes.subarray(8, 8 + length);
      const flags = bytes[4] ?? 0;
      if ((bytes[0] ?? 0) & 0x80) await this.control(bytes.readUInt16BE(2), flags, body);
      else this.data(bytes.readUInt32BE(0), flags, body);
      bytes = bytes.subarray(8 + length);
    }
    this.pending = Buffer.from(bytes);
  }

  private async control(type: number, flags: number, body: Buffer): Promise<void> {
    if (type === TYPE.synStream) {
      const id = body.readUInt32BE(0) & 0x7fffffff;
      const headers = parseHeaders(await this.inflateBlock(body.subarray(10)));
      this.open(id, headers, (flags & FLAG_FIN) !== 0);
    } else if (type === TYPE.ping) this.writeControl(TYPE.ping, 0, body);
    else if (type === TYPE.reset) {
      const id = body.readUInt32BE(0) & 0x7fffffff;
      const stream = this.streams.get(id);
      this.streams.delete(id);
      stream?.onClose();
    } else if (type === TYPE.synReply || type === 8) {
      // Headers share one compression context, so even unwanted ones must pass through it.
      await this.inflateBlock(body.subarray(4));
    }
  }

  private data(id: number, flags: number, body: Buffer): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    if (body.length > 0) stream.onData(body);
    if (flags & FLAG_FIN) stream.onEnd();
  }

  private open(id: number, headers: Map<string, string>, finished: boolean): void {
    const ignore = (): void => undefined;
    const stream: SpdyStream = {
      id,
      headers,
      onData: ignore,
      onEnd: ignore,
      onClose: ignore,
      write: (chunk) => this.writeData(id, 0, chunk),
      end: () => void this.writeData(id, FLAG_FIN, Buffer.alloc(0)),
      reset: () => {
        if (!this.streams.delete(id)) return;
        const body = Buffer.alloc(8);
        body.writeUInt32BE(id, 0);
        body.writeUInt32BE(CANCEL, 4);
        this.writeControl(TYPE.reset, 0, body);
      },
    };
    this.streams.set(id, stream);
    const reply = Buffer.concat([Buffer.alloc(4), this.emptyHeaders()]);
    reply.writeUInt32BE(id, 0);
    this.writeControl(TYPE.synReply, 0, reply);
    this.onStream(stream);
    if (finished) stream.onEnd();
  }

  /** A header block with no headers, as a stored block of the connection's one zlib stream. */
  private emptyHeaders(): Buffer {
    // The empty block at the end is what a flush leaves; readers hand out what came before only when they see it.
    const stored = Buffer.from([0x00, 0x04, 0x00, 0xfb, 0xff, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xff]);
    if (this.repliedBefore) return stored;
    this.repliedBefore = true;
    // zlib head with the preset-dictionary bit and the dictionary's Adler-32.
    return Buffer.concat([Buffer.from([0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2]), stored]);
  }

  private inflateBlock(block: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.inflate.write(block, (error) => {
        if (error) return reject(error);
        const text = Buffer.concat(this.inflated);
        this.inflated = [];
        resolve(text);
      });
    });
  }

  private writeControl(type: number, flags: number, body: Buffer): void {
    const head = Buffer.alloc(8);
    head.writeUInt16BE(0x8003, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt32BE(body.length, 4);
    head[4] = flags;
    this.duplex.write(Buffer.concat([head, body]));
  }

  private writeData(id: number, flags: number, chunk: Uint8Array): boolean {
    if (this.duplex.destroyed || !this.streams.has(id)) return true;
    for (let at = 0; at + MAX_DATA < chunk.length; at += MAX_DATA)
      this.writeData(id, 0, chunk.subarray(at, at + MAX_DATA));
    const rest =
      chunk.length > MAX_DATA ? chunk.subarray(chunk.length - (chunk.length % MAX_DATA || MAX_DATA)) : chunk;
    const head = Buffer.alloc(8);
    head.writeUInt32BE(id, 0);
    head.writeUInt32BE(rest.length, 4);
    head[4] = flags;
    return this.duplex.write(Buffer.concat([head, rest]));
  }
}

function parseHeaders(block: Buffer): Map<string, string> {
  const headers = new Map<string, string>();
  let at = 4;
  const text = (): string => {
    const length = block.readUInt32BE(at);
    at += 4 + length;
    return block.toString('latin1', at - length, at);
  };
  for (let left = block.readUInt32BE(0); left > 0; left--) headers.set(text().toLowerCase(), text());
  return headers;
}
