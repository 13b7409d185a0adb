// SPDX-License-Identifier: Apache-2.0
// The agent's REST API on its unix socket, and /healthz on TCP for probes.
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorMessage, type Logger } from '@cilium-ts/base';
import fastify, { type FastifyInstance } from 'fastify';

/** A route as it is served and documented. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH';
  /** In fastify's form: `/v1/endpoint/:id`. */
  readonly path: string;
  readonly summary: string;
  /** JSON Schema of the answer and of the body. */
  readonly answer?: object;
  readonly body?: object;
  readonly handle: (request: ApiRequest) => Promise<unknown> | unknown;
}

export interface ApiRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** An answer with a status of its own. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A body that is sent as it is. */
export class RawAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;

  constructor(status: number, type: string, body: string) {
    this.status = status;
    this.type = type;
    this.body = body;
  }
}

const BODY_LIMIT = 1024 * 1024;

function addRoute(server: FastifyInstance, route: Route): void {
  server.route({
    method: route.method,
    url: route.path,
    ...(route.body ? { schema: { body: route.body } } : {}),
    handler: async (request, reply) => {
      const answer = await route.handle({
        params: request.params as Record<string, string>,
        query: request.query as Record<string, string>,
        body: request.body,
      });
      if (!(answer instanceof RawAnswer)) return reply.send(answer);
      return reply.code(answer.status).type(answer.type).send(answer.body);
    },
  });
}

function answerErrors(server: FastifyInstance, logger: Logger): void {
  server.setErrorHandler((error, request, reply) => {
    if (error instanceof ApiError) {
      return reply.code(error.status).send({ code: error.code, message: error.message });
    }
    const status = (error as { statusCode?: number }).statusCode ?? 500;
    if (status >= 500) logger.error({ url: request.url, error: errorMessage(error) }, 'API request failed');
    return reply
      .code(status)
      .send({ code: status < 500 ? 'bad-request' : 'internal', message: errorMessage(error) });
  });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ code: 'not-found', message: `no route ${request.method} ${request.url}` }),
  );
}

export interface ApiServer {
  stop(): Promise<void>;
}

export type StreamHandler = (
  query: Readonly<Record<string, string>>,
  write: (line: string) => boolean,
  onClose: (work: () => void) => void,
) => void;

/** Serves the routes; a stream route writes lines of JSON until the client goes. */
export async function serveApi(
  socketPath: string,
  routes: readonly Route[],
  streams: Readonly<Record<string, StreamHandler>>,
  logger: Logger,
): Promise<ApiServer> {
  const server = fastify({ logger: false, bodyLimit: BODY_LIMIT, forceCloseConnections: true });
  answerErrors(server, logger);
  for (const route of routes) addRoute(server, route);
  for (const [path, handler] of Object.entries(streams)) {
    server.get(path, (request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
      reply.raw.flushHeaders();
      handler(
        request.query as Record<string, string>,
        (line) => reply.raw.write(line),
        (work) => reply.raw.once('close', work),
      );
    });
  }
  const document = openApi(routes);
  server.get('/v1/openapi.json', () => document);
  mkdirSync(dirname(socketPath), { recursive: true });
  rmSync(socketPath, { force: true });
  await server.listen({ path: socketPath });
  chmodSync(socketPath, 0o660);
  return { stop: () => server.close() };
}

function openApi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const names = [...route.path.matchAll(/:(\w+)/g)].map((match) => match[1]!);
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    const json = (schema: object): object => ({ content: { 'application/json': { schema } } });
    (paths[path] ??= {})[route.method.toLowerCase()] = {
      summary: route.summary,
      parameters: names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...(route.body ? { requestBody: json(route.body) } : {}),
      responses: { 200: { description: route.summary, ...(route.answer ? json(route.answer) : {}) } },
    };
  }
  return { openapi: '3.1.0', info: { title: 'Cilium agent', version: '1' }, paths };
}
