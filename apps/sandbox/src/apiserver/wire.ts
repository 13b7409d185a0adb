// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { apiVersionOf, type Dict, type KubeObject, type Resource } from './model.ts';
import { decodeProtobufBody } from './protobuf.ts';
import { ApiError, badRequest } from './status.ts';

const BODY_LIMIT = 8 << 20;

/** Reads a request's body whole. Throws 413 past 8 MiB. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT)
      throw new ApiError(413, 'RequestEntityTooLarge', 'the request is larger than 8 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? 'application/json').split(';')[0]!.trim();
}

/** Parses a body by its media type; an empty one is an empty object. */
export function parseBody(body: Buffer, type: string): unknown {
  if (body.length === 0) return {};
  if (type === 'application/vnd.kubernetes.protobuf') return decodeProtobufBody(body);
  try {
    if (type.includes('yaml') && body[0] !== 0x7b) return parseYaml(body.toString()) as unknown;
    return JSON.parse(body.toString()) as unknown;
  } catch (error) {
    throw badRequest(`couldn't parse the request's body: ${(error as Error).message}`);
  }
}

const encoded = new WeakMap<KubeObject, Map<string, string>>();

/** JSON of a stored object in the version of `resource`; kept with the object, so that it is made once. */
export function encodeObject(object: KubeObject, resource: Resource): string {
  const version = apiVersionOf(resource);
  let forms = encoded.get(object);
  if (!forms) encoded.set(object, (forms = new Map<string, string>()));
  let text = forms.get(version);
  if (text === undefined) forms.set(version, (text = JSON.stringify(viewOf(object, resource))));
  return text;
}

/** A stored object as the version of `resource` shows it. */
export function viewOf(object: KubeObject, resource: Resource): KubeObject {
  if (resource.fromStored) return resource.fromStored(object);
  const apiVersion = apiVersionOf(resource);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

/** Sends JSON; `payload` may be encoded already. */
export function sendJson(response: ServerResponse, code: number, payload: object | string): void {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

export function sendError(response: ServerResponse, error: unknown, report: (error: unknown) => void): void {
  const known = error instanceof ApiError;
  if (!known) report(error);
  const shown = known
    ? error
    : new ApiError(500, 'InternalError', `Internal error occurred: ${(error as Error).message}`);
  if (response.headersSent) response.destroy();
  else sendJson(response, shown.code, shown.toStatus());
}

/** Whether the client wants rows of printer columns. */
export function wantsTable(accept: string): boolean {
  return /;\s*as=Table/.test(accept) && !/^application\/json\s*(,|$)/.test(accept);
}

/** Throws 406 for a client that takes nothing this server can write. */
export function checkAccept(accept: string): void {
  if (accept === '' || /application\/(json|\*)|\*\/\*|text\/|yaml/.test(accept)) return;
  throw new ApiError(406, 'NotAcceptable', 'only the following media types are accepted: application/json');
}

export function asDict(value: unknown): Dict {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw badRequest('the body must be one object');
}
