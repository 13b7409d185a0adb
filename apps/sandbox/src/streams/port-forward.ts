// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, createWebSocketStream } from 'ws';
import { SpdyConnection, type SpdyStream } from './spdy.ts';

/** Opens a connection to a port inside the pod; a rejection's message is shown to the user. */
export type ConnectToPort = (port: number) => Promise<Duplex>;

const TUNNEL = 'SPDY/3.1+portforward.k8s.io';
const STREAM_PROTOCOL = 'portforward.k8s.io';

/** The real name holds a slash, which `ws` refuses in requests but not in its answer. */
const TUNNEL_ALIAS = 'spdy-tunnel';

const upgrader = new WebSocketServer({
  noServer: true,
  perMessageDeflate: false,
  handleProtocols: (offered) => (offered.has(TUNNEL_ALIAS) ? TUNNEL : false),
});

/**
 * Serves one `kubectl port-forward` connection on the pod's side: SPDY/3.1 tunnelled in a WebSocket (newer
 * clients) or reached by a plain HTTP upgrade. Answers 400 itself when the client offers neither.
 */
export function servePortForward(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  connect: ConnectToPort,
): void {
  const upgrade = String(request.headers.upgrade ?? '').toLowerCase();
  const protocols = String(request.headers['sec-websocket-protocol'] ?? '');
  if (upgrade === 'websocket' && protocols.includes(TUNNEL)) {
    request.headers['sec-websocket-protocol'] = TUNNEL_ALIAS;
    upgrader.handleUpgrade(request, socket, head, (ws) => {
      const stream = createWebSocketStream(ws);
      serveStreams(stream, connect);
    });
    return;
  }
  if (upgrade === 'spdy/3.1') {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
        `X-Stream-Protocol-Version: ${STREAM_PROTOCOL}\r\n\r\n`,
    );
    if (head.length > 0) socket.unshift(head);
    serveStreams(socket, connect);
    return;
  }
  const text = `offer the WebSocket protocol ${TUNNEL} or upgrade to SPDY/3.1`;
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
}

/** Each forwarded connection is a pair of streams, error and data, joined by their request id. */
function serveStreams(duplex: Duplex, connect: ConnectToPort): void {
  const errors = new Map<string, SpdyStream>();
  const connection: SpdyConnection = new SpdyConnection(duplex, (stream) => {
    const id = stream.headers.get('requestid') ?? `port-${stream.headers.get('port') ?? ''}`;
    if (stream.headers.get('streamtype') === 'error') {
      errors.set(id, stream);
      stream.onClose = () => errors.delete(id);
      return;
    }
    const error = errors.get(id);
    errors.delete(id);
    forward(connection, stream, error, connect);
  });
}

function forward(
  connection: SpdyConnection,
  data: SpdyStream,
  error: SpdyStream | undefined,
  connect: ConnectToPort,
): void {
  const port = Number(data.headers.get('port'));
  // Bytes may arrive before the connection inside the pod is there.
  const early: Buffer[] = [];
  let endedEarly = false;
  let gone = false;
  data.onData = (chunk) => early.push(chunk);
  data.onEnd = () => (endedEarly = true);
  data.onClose = () => (gone = true);
  const attach = (target: Duplex): void => {
    if (gone) return void target.destroy();
    data.onData = (chunk) => target.write(chunk);
    data.onEnd = () => target.end();
    data.onClose = () => target.destroy();
    for (const chunk of early) target.write(chunk);
    if (endedEarly) target.end();
    target.on('data', (chunk: Buffer) => {
      if (data.write(chunk)) return;
      target.pause();
      connection.onDrain(() => target.resume());
    });
    target.on('end', () => {
      data.end();
      error?.end();
    });
    target.on('error', (cause: Error) => fail(data, error, port, cause));
  };
  connect(port).then(attach, (cause: unknown) => fail(data, error, port, cause));
}

function fail(data: SpdyStream, error: SpdyStream | undefined, port: number, cause: unknown): void {
  const reason = cause instanceof Error ? cause.message : String(cause);
  error?.write(Buffer.from(`cannot forward to port ${port}: ${reason}`));
  error?.end();
  data.reset();
}
