// SPDX-License-Identifier: Apache-2.0
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Call } from './call.ts';
import type { Dict, KubeObject } from './model.ts';
import { ApiError, badRequest } from './status.ts';
import type { Store } from './store.ts';

/** Where a node's kubelet answers; the sandbox sets the annotation, other clusters the node's addresses. */
const ANNOTATION = 'cilium-ts.io/kubelet-url';

function kubeletTarget(store: Store, pod: KubeObject): { options: RequestOptions; secure: boolean } {
  const nodeName = pod.spec?.nodeName as string | undefined;
  if (!nodeName) throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  const node = store.get('/nodes', '', nodeName);
  if (!node)
    throw new ApiError(404, 'NotFound', `nodes "${nodeName}" not found`, { name: nodeName, kind: 'nodes' });
  const url = node.metadata.annotations?.[ANNOTATION];
  if (url?.startsWith('http+unix://'))
    return { options: { socketPath: url.slice('http+unix://'.length) }, secure: false };
  if (url) {
    const { protocol, hostname, port } = new URL(url);
    return {
      options: { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) },
      secure: protocol === 'https:',
    };
  }
  const address = ((node.status?.addresses ?? []) as Dict[]).find((item) => item.type === 'InternalIP');
  const port = Number(node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 10250);
  if (!address) throw badRequest(`node ${nodeName} has no InternalIP and no ${ANNOTATION} annotation`);
  return { options: { host: address.address as string, port }, secure: true };
}

function containerOf(pod: KubeObject, asked: string | null): string {
  const all = [...((pod.spec?.containers ?? []) as Dict[]), ...((pod.spec?.initContainers ?? []) as Dict[])];
  const names = all.map((container) => container.name as string);
  if (asked === null || asked === '') {
    const preferred = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
    if (preferred && names.includes(preferred)) return preferred;
    if (pod.spec?.containers?.length === 1) return names[0]!;
    const choices = ((pod.spec?.containers ?? []) as Dict[])
      .map((container) => container.name as string)
      .join(' ');
    throw badRequest(
      `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${choices}]`,
    );
  }
  if (names.includes(asked)) return asked;
  throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
}

/** The kubelet's path for a pod subresource, in the form of the kubelet's own server. */
function kubeletPath(pod: KubeObject, subresource: string, query: URLSearchParams): string {
  const { namespace, name, uid } = pod.metadata;
  if (subresource === 'portforward') return `/portForward/${namespace}/${name}?${query.toString()}`;
  const container = containerOf(pod, query.get('container'));
  const options = new URLSearchParams(query);
  options.delete('container');
  if (subresource === 'log') return `/containerLogs/${namespace}/${name}/${container}?${options.toString()}`;
  for (const [from, to] of [
    ['stdin', 'input'],
    ['stdout', 'output'],
    ['stderr', 'error'],
  ] as const) {
    const value = options.get(from);
    options.delete(from);
    if (value === 'true' || value === '1') options.set(to, '1');
  }
  if (options.get('tty') === 'true') options.set('tty', '1');
  options.set('podUID', uid);
  return `/${subresource}/${namespace}/${name}/${container}?${options.toString()}`;
}

/** One stream or log of a pod. */
export interface PodStream {
  readonly pod: KubeObject;
  readonly subresource: string;
  readonly query: URLSearchParams;
}

function open(
  store: Store,
  stream: PodStream,
  headers: Dict,
  method: string,
): ReturnType<typeof httpRequest> {
  const { options, secure } = kubeletTarget(store, stream.pod);
  const path = kubeletPath(stream.pod, stream.subresource, stream.query);
  const full = { ...options, path, method, headers: headers as Record<string, string> };
  return secure ? httpsRequest({ ...full, rejectUnauthorized: false }) : httpRequest(full);
}

/** Plain requests: logs. The answer is streamed through unchanged. */
export function proxyRequest(store: Store, pod: KubeObject, subresource: string, call: Call): void {
  const upstream = open(store, { pod, subresource, query: call.query }, {}, 'GET');
  upstream.on('response', (answer: IncomingMessage) => {
    call.response.writeHead(answer.statusCode ?? 502, {
      'content-type': answer.headers['content-type'] ?? 'text/plain',
    });
    call.response.flushHeaders();
    answer.pipe(call.response);
    answer.on('error', () => call.response.destroy());
  });
  upstream.on('error', (error) => {
    if (call.response.headersSent) return void call.response.destroy();
    const failure = unreachable(pod, error);
    call.response.writeHead(failure.code, { 'content-type': 'application/json' });
    call.response.end(JSON.stringify(failure.toStatus()));
  });
  call.response.on('close', () => upstream.destroy());
  upstream.end();
}

function unreachable(pod: KubeObject, error: Error): ApiError {
  return new ApiError(
    502,
    'ServiceUnavailable',
    `the kubelet of node ${pod.spec?.nodeName} does not answer: ${error.message}`,
  );
}

/** Upgraded connections (exec, attach, port-forward): after the handshake only bytes pass through here. */
export function proxyUpgrade(
  store: Store,
  stream: PodStream,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  const { authorization: _authorization, ...headers } = request.headers;
  const upstream = open(store, stream, headers, request.method ?? 'GET');
  upstream.on('upgrade', (answer, kubelet, first) => {
    socket.write(headText(answer, '101 Switching Protocols'));
    if (first.length > 0) socket.write(first);
    if (head.length > 0) kubelet.write(head);
    join(socket, kubelet);
  });
  upstream.on('response', (answer) => {
    socket.write(headText(answer, `${answer.statusCode} ${answer.statusMessage ?? ''}`));
    answer.pipe(socket);
  });
  upstream.on('error', (error) => refuseUpgrade(socket, unreachable(stream.pod, error)));
  socket.on('close', () => upstream.destroy());
  upstream.end();
}

function headText(answer: IncomingMessage, status: string): string {
  const lines: string[] = [];
  for (let at = 0; at + 1 < answer.rawHeaders.length; at += 2) {
    const name = answer.rawHeaders[at]!;
    // The body is passed on decoded, up to the connection's end.
    if (name.toLowerCase() !== 'transfer-encoding') lines.push(`${name}: ${answer.rawHeaders[at + 1]}`);
  }
  if (!status.startsWith('101')) lines.push('Connection: close');
  return `HTTP/1.1 ${status}\r\n${lines.join('\r\n')}\r\n\r\n`;
}

function join(client: Duplex, kubelet: Duplex): void {
  client.pipe(kubelet);
  kubelet.pipe(client);
  const close = (): void => {
    client.destroy();
    kubelet.destroy();
  };
  for (const end of [client, kubelet]) {
    end.on('error', close);
    end.on('close', close);
  }
}

/** Answers an upgrade request with a `Status` and closes. */
export function refuseUpgrade(socket: Duplex, error: ApiError): void {
  const text = JSON.stringify(error.toStatus());
  socket.end(
    `HTTP/1.1 ${error.code} ${error.reason}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
