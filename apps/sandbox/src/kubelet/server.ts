// SPDX-License-Identifier: Apache-2.0
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { rm } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { Runtime } from '../runtime/runtime.ts';
import { servePortForward } from '../streams/port-forward.ts';
import { acceptRemoteCommand, type RemoteCommand } from '../streams/remote-command.ts';
import type { PodContainer } from './container.ts';
import { writeLog, type LogOptions } from './log-reader.ts';
import type { PodWorker } from './pod-worker.ts';

/** What the server asks of its kubelet. */
export interface PodDirectory {
  find(namespace: string, name: string): PodWorker | undefined;
}

/** A request that cannot be served; the status code goes to the API server, which shows the text. */
class Refusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const FIRST_SIZE_WAIT_MS = 150;
const MAX_URL_BYTES = 4 * 1024 * 1024;

/** The kubelet's own HTTP server, on a unix socket: exec, attach, port-forward and logs, with the kubelet's paths. */
export class KubeletServer {
  readonly #pods: PodDirectory;
  readonly #runtime: Runtime;
  readonly #log: Logger;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();

  constructor(pods: PodDirectory, runtime: Runtime, log: Logger) {
    this.#pods = pods;
    this.#runtime = runtime;
    this.#log = log;
    // Commands are arguments of the URL, and may be long.
    this.#server = createServer(
      { maxHeaderSize: MAX_URL_BYTES },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(path: string): Promise<void> {
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, resolve);
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { path, query } = parseUrl(request);
      if (path[0] === 'healthz') return void response.end('ok');
      if (path[0] !== 'containerLogs') throw new Refusal(404, `no such path: ${request.url}`);
      await this.#logs(this.#container(path), query, response);
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      response.writeHead(error instanceof Refusal ? error.code : 500, { 'content-type': 'text/plain' });
      response.end(errorMessage(error));
    }
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    try {
      const { path, query } = parseUrl(request);
      if (path[0] === 'portForward') return this.#portForward(this.#pod(path), request, socket, head);
      if (path[0] !== 'exec' && path[0] !== 'attach') throw new Refusal(404, `no such path: ${request.url}`);
      const container = this.#container(path);
      if (!container.running) throw new Refusal(400, `container ${container.container.name} is not running`);
      const remote = await acceptRemoteCommand(request, socket, head);
      if (!remote) return;
      if (path[0] === 'exec') await serveExec(container, query, remote);
      else await serveAttach(container, remote);
    } catch (error) {
      const code = error instanceof Refusal ? error.code : 500;
      const text = errorMessage(error);
      this.#log.debug({ url: request.url, error: text }, 'upgrade refused');
      if (!socket.writable) return;
      socket.end(
        `HTTP/1.1 ${code} Refused\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      );
    }
  }

  #pod([, namespace = '', name = '']: readonly string[]): PodWorker {
    const pod = this.#pods.find(namespace, name);
    if (!pod) throw new Refusal(404, `pod ${namespace}/${name} does not run on this node`);
    return pod;
  }

  #container(path: readonly string[]): PodContainer {
    const pod = this.#pod(path);
    const name = path[3];
    const container = name ? pod.container(name) : pod.defaultContainer;
    if (!container)
      throw new Refusal(404, `container ${name ?? ''} not found in pod ${pod.pod.metadata.name}`);
    return container;
  }

  #portForward(pod: PodWorker, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    servePortForward(request, socket, head, async (port) => {
      const netns = pod.netnsPath;
      // Servers that listen on one of the two loopback addresses only are reached all the same.
      try {
        return await this.#runtime.dial(netns, '127.0.0.1', port, 5000);
      } catch (error) {
        return this.#runtime.dial(netns, '::1', port, 5000).catch(() => Promise.reject(error as Error));
      }
    });
  }

  async #logs(container: PodContainer, query: URLSearchParams, response: ServerResponse): Promise<void> {
    const previous = query.get('previous') === 'true';
    const file = container.logFile(previous ? 1 : 0);
    const { name } = container.container;
    if (file === undefined) {
      const waiting = container.status().state?.waiting?.reason ?? 'ContainerCreating';
      if (previous) throw new Refusal(400, `previous terminated container ${JSON.stringify(name)} not found`);
      throw new Refusal(400, `container ${JSON.stringify(name)} is waiting to start: ${waiting}`);
    }
    const running = container.running;
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.flushHeaders();
    await writeLog(file, logOptions(query), response, {
      running: () => !previous && running !== undefined && container.running === running,
      ended: running?.exited ?? Promise.resolve(),
    });
    response.end();
  }
}

function parseUrl(request: IncomingMessage): { path: string[]; query: URLSearchParams } {
  const url = new URL(request.url ?? '/', 'http://kubelet');
  return { path: url.pathname.split('/').filter(Boolean).map(decodeURIComponent), query: url.searchParams };
}

function logOptions(query: URLSearchParams): LogOptions {
  const number = (name: string): number | undefined => {
    const text = query.get(name);
    if (text === null || text === '') return undefined;
    if (!/^\d+$/.test(text))
      throw new Refusal(400, `${name} must be a whole number, not ${JSON.stringify(text)}`);
    return Number(text);
  };
  const seconds = number('sinceSeconds');
  const time = query.get('sinceTime');
  return {
    follow: query.get('follow') === 'true',
    tailLines: number('tailLines'),
    sinceMs: seconds !== undefined ? Date.now() - seconds * 1000 : time ? Date.parse(time) : undefined,
    timestamps: query.get('timestamps') === 'true',
    limitBytes: number('limitBytes'),
  };
}

const isSet = (query: URLSearchParams, ...names: string[]): boolean =>
  names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));

async function serveExec(
  container: PodContainer,
  query: URLSearchParams,
  remote: RemoteCommand,
): Promise<void> {
  const command = query.getAll('command');
  if (command.length === 0)
    return remote.finish({ kind: 'failed', message: 'you must specify at least 1 command' });
  const tty = isSet(query, 'tty');
  try {
    let apply: (size: { columns: number; rows: number }) => void = () => undefined;
    const first = tty ? await firstSize(remote, (size) => apply(size)) : undefined;
    const child = container.exec(command, {
      stdin: isSet(query, 'input', 'stdin'),
      ...(tty ? { tty: first ?? { rows: 24, columns: 80 } } : {}),
    });
    apply = (size) => child.resize(size);
    remote.stdin.pipe(child.stdin);
    child.stdout.pipe(remote.stdout, { end: false });
    child.stderr.pipe(remote.stderr, { end: false });
    let over = false;
    void remote.closed.then(() => {
      if (!over) child.kill();
    });
    const code = await child.exited;
    over = true;
    await remote.finish({ kind: 'exit', code });
  } catch (error) {
    await remote.finish({ kind: 'failed', message: errorMessage(error) });
  }
}

/** Clients send the terminal's size right after connecting: programs should start with it. */
function firstSize(
  remote: RemoteCommand,
  later: (size: { columns: number; rows: number }) => void,
): Promise<{ rows: number; columns: number } | undefined> {
  return new Promise((resolve) => {
    let answered = false;
    const timer = setTimeout(() => {
      answered = true;
      resolve(undefined);
    }, FIRST_SIZE_WAIT_MS);
    remote.onResize((size) => {
      if (answered) return later(size);
      answered = true;
      clearTimeout(timer);
      resolve(size);
    });
  });
}

/** Attach shows the output from now on; containers here have no standard input. */
async function serveAttach(container: PodContainer, remote: RemoteCommand): Promise<void> {
  const file = container.logFile(0);
  const running = container.running;
  if (file === undefined || !running)
    return remote.finish({ kind: 'failed', message: 'the container is not running' });
  const options = {
    follow: true,
    tailLines: 0,
    sinceMs: undefined,
    timestamps: false,
    limitBytes: undefined,
  };
  await writeLog(file, options, remote.stdout, {
    running: () => container.running === running,
    ended: running.exited,
  });
  const { code } = await running.exited;
  await remote.finish({ kind: 'exit', code });
}
