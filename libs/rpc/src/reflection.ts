// SPDX-License-Identifier: Apache-2.0
// Server reflection (v1 and v1alpha) from the descriptor set that is part of the bundle.
import { BinaryReader } from '@bufbuild/protobuf/wire';
import {
  DESCRIPTOR_SET,
  ServerReflectionAlphaDefinition,
  ServerReflectionDefinition,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@cilium-ts/proto';
import { status } from '@grpc/grpc-js';
import type { RpcServer } from './server.ts';

interface File {
  readonly bytes: Buffer;
  readonly name: string;
  readonly dependencies: readonly string[];
  readonly symbols: readonly string[];
}

interface Fields {
  readonly texts: Map<number, string[]>;
  readonly messages: Map<number, Uint8Array[]>;
}

/** Length-delimited fields of a message; a descriptor's names and parts are all of that kind. */
function fieldsOf(bytes: Uint8Array): Fields {
  const fields: Fields = { texts: new Map(), messages: new Map() };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type !== 2) {
      reader.skip(type);
      continue;
    }
    const value = reader.bytes();
    fields.messages.set(number, [...(fields.messages.get(number) ?? []), value]);
    fields.texts.set(number, [...(fields.texts.get(number) ?? []), Buffer.from(value).toString('utf8')]);
  }
  return fields;
}

const nameOf = (bytes: Uint8Array): string => fieldsOf(bytes).texts.get(1)?.[0] ?? '';

function messageSymbols(bytes: Uint8Array, scope: string): string[] {
  const { messages } = fieldsOf(bytes);
  const name = `${scope}${nameOf(bytes)}`;
  const nested = (messages.get(3) ?? []).flatMap((inner) => messageSymbols(inner, `${name}.`));
  const enums = (messages.get(4) ?? []).map((inner) => `${name}.${nameOf(inner)}`);
  return [name, ...nested, ...enums];
}

function serviceSymbols(bytes: Uint8Array, scope: string): string[] {
  const name = `${scope}${nameOf(bytes)}`;
  return [name, ...(fieldsOf(bytes).messages.get(2) ?? []).map((method) => `${name}.${nameOf(method)}`)];
}

function readFile(bytes: Uint8Array): File {
  const { texts, messages } = fieldsOf(bytes);
  const scope = texts.get(2)?.[0] ? `${texts.get(2)![0]}.` : '';
  return {
    bytes: Buffer.from(bytes),
    name: texts.get(1)?.[0] ?? '',
    dependencies: texts.get(3) ?? [],
    symbols: [
      ...(messages.get(4) ?? []).flatMap((message) => messageSymbols(message, scope)),
      ...(messages.get(5) ?? []).map((one) => `${scope}${nameOf(one)}`),
      ...(messages.get(6) ?? []).flatMap((service) => serviceSymbols(service, scope)),
    ],
  };
}

class Descriptors {
  readonly #files = new Map<string, File>();
  readonly #bySymbol = new Map<string, File>();

  constructor() {
    for (const bytes of fieldsOf(Buffer.from(DESCRIPTOR_SET, 'base64')).messages.get(1) ?? []) {
      const file = readFile(bytes);
      this.#files.set(file.name, file);
      for (const symbol of file.symbols) this.#bySymbol.set(symbol, file);
    }
  }

  /** The file and all that it needs. */
  files(start: string | undefined): Buffer[] {
    const found = new Map<string, Buffer>();
    const visit = (name: string): void => {
      const file = this.#files.get(name);
      if (!file || found.has(name)) return;
      found.set(name, file.bytes);
      file.dependencies.forEach(visit);
    };
    if (start !== undefined) visit(start);
    return [...found.values()];
  }

  fileOf(symbol: string): string | undefined {
    return this.#bySymbol.get(symbol)?.name;
  }
}

export function addReflection(server: RpcServer): void {
  let descriptors: Descriptors | undefined;
  const answer = (request: ServerReflectionRequest): ServerReflectionResponse['messageResponse'] => {
    descriptors ??= new Descriptors();
    const asked = request.messageRequest;
    switch (asked?.$case) {
      case 'listServices':
        return {
          $case: 'listServicesResponse',
          value: { service: server.services.map((name) => ({ name })) },
        };
      case 'fileByFilename':
        return files(descriptors.files(asked.value), asked.value);
      case 'fileContainingSymbol':
        return files(descriptors.files(descriptors.fileOf(asked.value)), asked.value);
      case 'allExtensionNumbersOfType':
        return {
          $case: 'allExtensionNumbersResponse',
          value: { baseTypeName: asked.value, extensionNumber: [] },
        };
      default:
        return notFound('extension');
    }
  };
  const handlers = {
    serverReflectionInfo: (request: ServerReflectionRequest) => ({
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(request),
    }),
  };
  server.addService(ServerReflectionDefinition, handlers);
  server.addService(ServerReflectionAlphaDefinition, handlers);
}

function files(found: Buffer[], asked: string): ServerReflectionResponse['messageResponse'] {
  if (found.length === 0) return notFound(asked);
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: found } };
}

function notFound(asked: string): ServerReflectionResponse['messageResponse'] {
  return {
    $case: 'errorResponse',
    value: { errorCode: status.NOT_FOUND, errorMessage: `not found: ${asked}` },
  };
}
