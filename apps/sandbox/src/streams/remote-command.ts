// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { PassThrough, Writable, type Duplex, type Readable } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';

/** How a command ended: an exit code, or a text for what kept it from running. */
export type CommandResult =
  { readonly kind: 'exit'; readonly code: number } | { readonly kind: 'failed'; readonly message: string };

/** One accepted exec or attach connection, seen from the side that runs the command. */
export interface RemoteCommand {
  /** What the client types; ends when the client closes channel 0 or goes away. */
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Called with the terminal's size at once (when known) and at each change. */
  onResize(listener: (size: { readonly columns: number; readonly rows: number }) => void): void;
  /** Reports the end on channel 3 after all output has been written, then closes the connection. */
  finish(result: CommandResult): Promise<void>;
  /** Resolves when the connection is gone, by either side. */
  readonly closed: Promise<void>;
}

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'channel.k8s.io'];
/** Bytes waiting in the socket above which output waits, so that a slow client slows the command. */
const HIGH_WATER = 1 << 20;

const upgrader = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  handleProtocols: (offered) => PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
});

/**
 * Completes the WebSocket handshake of `exec` or `attach`. Returns null, after answering 400 itself,
 * when the client offers no known channel protocol.
 */
export function acceptRemoteCommand(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<RemoteCommand | null> {
  const offered = String(request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim());
  if (!offered.some((name) => PROTOCOLS.includes(name))) {
    const text = `offer one of the WebSocket protocols ${PROTOCOLS.join(', ')}`;
    socket.end(
      `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    return Promise.resolve(null);
  }
  return new Promise((resolve) => {
    upgrader.handleUpgrade(request, socket, head, (ws) => resolve(serve(ws)));
  });
}

function serve(ws: WebSocket): RemoteCommand {
  const stdin = new PassThrough();
  const sizes = new SizeFeed();
  const closed = new Promise<void>((resolve) => ws.once('close', () => resolve()));
  ws.on('message', (data: Buffer, isBinary) =>
    receive(ws, stdin, sizes, isBinary ? data : Buffer.from(data)),
  );
  ws.on('error', () => ws.terminate());
  void closed.then(() => stdin.end());
  const stdout = outputChannel(ws, CHANNEL.stdout);
  const stderr = outputChannel(ws, CHANNEL.stderr);
  return {
    stdin,
    stdout,
    stderr,
    closed,
    onResize: (listener) => sizes.listen(listener),
    finish: async (result) => {
      await Promise.all([ended(stdout), ended(stderr)]);
      if (ws.readyState === ws.OPEN) {
        ws.send(frame(CHANNEL.error, Buffer.from(JSON.stringify(resultStatus(result)))));
        ws.close(1000);
      }
      await closed;
    },
  };
}

function receive(ws: WebSocket, stdin: PassThrough, sizes: SizeFeed, data: Buffer): void {
  const channel = data[0];
  const payload = data.subarray(1);
  if (channel === CHANNEL.stdin && !stdin.writableEnded) {
    if (!stdin.write(payload)) {
      ws.pause();
      stdin.once('drain', () => ws.resume());
    }
  } else if (channel === CHANNEL.close && payload[0] === CHANNEL.stdin) stdin.end();
  else if (channel === CHANNEL.resize) sizes.feed(payload);
}

class SizeFeed {
  private last: { columns: number; rows: number } | null = null;
  private readonly listeners: ((size: { columns: number; rows: number }) => void)[] = [];

  listen(listener: (size: { columns: number; rows: number }) => void): void {
    this.listeners.push(listener);
    if (this.last) listener(this.last);
  }

  feed(payload: Buffer): void {
    try {
      const size = JSON.parse(payload.toString()) as { Width?: number; Height?: number };
      if (!size.Width || !size.Height) return;
      this.last = { columns: size.Width, rows: size.Height };
      for (const listener of this.listeners) listener(this.last);
    } catch {
      // A malformed size is only cosmetic; the session goes on.
    }
  }
}

function outputChannel(ws: WebSocket, channel: number): Writable {
  return new Writable({
    highWaterMark: HIGH_WATER,
    write(chunk: Buffer, _encoding, done) {
      if (ws.readyState !== ws.OPEN) return done();
      if (ws.bufferedAmount < HIGH_WATER) {
        ws.send(frame(channel, chunk));
        return done();
      }
      ws.send(frame(channel, chunk), () => done());
    },
  });
}

function ended(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableFinished || stream.destroyed) return resolve();
    stream.once('finish', resolve);
    stream.once('error', () => resolve());
    if (!stream.writableEnded) stream.end();
  });
}

function frame(channel: number, payload: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(payload.length + 1);
  message[0] = channel;
  message.set(payload, 1);
  return message;
}

/** The `Status` object that tells the client how the command ended. */
export function resultStatus(result: CommandResult): object {
  if (result.kind === 'exit' && result.code === 0) return { metadata: {}, status: 'Success' };
  if (result.kind === 'failed')
    return { metadata: {}, status: 'Failure', message: result.message, reason: 'InternalError', code: 500 };
  return {
    metadata: {},
    status: 'Failure',
    reason: 'NonZeroExitCode',
    message: `command terminated with non-zero exit code: exit status ${result.code}`,
    details: { causes: [{ reason: 'ExitCode', message: String(result.code) }] },
  };
}
