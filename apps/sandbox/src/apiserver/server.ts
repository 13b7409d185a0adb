// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { ANONYMOUS, Authenticator, type User } from './authentication.ts';
import { bootstrap, type BootstrapOptions } from './bootstrap.ts';
import { builtinResources } from './builtin.ts';
import { parseResourcePath, type Call } from './call.ts';
import type { Credentials } from './credentials.ts';
import { CustomResources } from './custom-resources.ts';
import { aggregated, groupEntry, groupList, resourceList, VERSION } from './discovery.ts';
import { proxyRequest, proxyUpgrade, refuseUpgrade } from './kubelet-proxy.ts';
import { Objects } from './objects.ts';
import { emptySwagger, OpenApi, SWAGGER_PROTOBUF } from './openapi.ts';
import { Registry } from './registry.ts';
import { serveRest } from './rest.ts';
import { review } from './reviews.ts';
import { ServiceAddresses } from './service-addresses.ts';
import { ApiError, methodNotAllowed, noSuchPath } from './status.ts';
import { Store } from './store.ts';
import { serveBinding, serveSubresource } from './subresources.ts';
import { asDict, checkAccept, mediaType, parseBody, readBody, sendError, sendJson } from './wire.ts';

export interface ApiServerOptions extends BootstrapOptions {
  readonly credentials: Credentials;
  /** Receives errors that are this server's own fault. */
  readonly report: (error: unknown) => void;
}

const OPEN_PATHS =
  /^\/(healthz|livez|readyz)(\/|$)|^\/version\/?$|^\/(openid\/v1\/jwks|\.well-known\/openid-configuration)$/;
const STREAMS = new Set(['exec', 'attach', 'portforward']);
const IS_STATUS = new Set([undefined, 'status', 'ephemeralcontainers']);

/** The embedded API server: one store, its resources and the HTTPS server in front. */
export class ApiServer {
  readonly objects: Objects;
  readonly http: Server;
  private readonly authenticator: Authenticator;
  private readonly openApi: OpenApi;
  private readonly report: (error: unknown) => void;

  constructor(options: ApiServerOptions) {
    const registry = new Registry();
    for (const resource of builtinResources()) registry.add(resource);
    this.objects = new Objects(new Store(), registry, new ServiceAddresses());
    new CustomResources(this.objects);
    this.authenticator = new Authenticator(options.credentials, this.objects.store);
    this.openApi = new OpenApi(registry);
    this.report = options.report;
    bootstrap(this.objects, options);
    const { serverCert, serverKey, caPem } = options.credentials;
    const tls = {
      cert: serverCert,
      key: serverKey,
      ca: caPem,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    };
    this.http = createServer(
      { ...tls, keepAliveTimeout: 90_000, requestTimeout: 0, maxHeaderSize: 4 << 20 },
      (request, response) => {
        void this.handle(request, response);
      },
    );
    this.http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.upgrade(request, socket, head),
    );
    this.http.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = new URL(request.url ?? '/', 'https://server');
      const user = this.userFor(request, url.pathname);
      if (this.fixedPath(url, request, response)) return;
      checkAccept(String(request.headers.accept ?? ''));
      await this.resource(url, user, request, response);
    } catch (error) {
      sendError(response, error, this.report);
    }
  }

  private userFor(request: IncomingMessage, path: string): User {
    const user = this.authenticator.authenticate(request);
    if (user === null) throw new ApiError(401, 'Unauthorized', 'Unauthorized');
    if (user === ANONYMOUS && !OPEN_PATHS.test(path))
      throw new ApiError(
        403,
        'Forbidden',
        `forbidden: User "system:anonymous" cannot ${(request.method ?? 'get').toLowerCase()} path "${path}"`,
        {},
      );
    return user;
  }

  /** Health, version, discovery and OpenAPI. Returns whether it answered. */
  private fixedPath(url: URL, request: IncomingMessage, response: ServerResponse): boolean {
    const path = url.pathname.replace(/(.)\/$/, '$1');
    const { registry } = this.objects;
    const accept = String(request.headers.accept ?? '');
    if (/^\/(healthz|livez|readyz)(\/|$)/.test(path))
      response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
    else if (path === '/version') sendJson(response, 200, VERSION);
    else if (path === '/')
      sendJson(response, 200, {
        paths: ['/api', '/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
      });
    else if (path === '/openid/v1/jwks') sendJson(response, 200, this.authenticator.keySet());
    else if (
      (path === '/api' || path === '/apis') &&
      /as=APIGroupDiscoveryList/.test(accept) &&
      /v=v2[;,]|v=v2$/.test(accept)
    ) {
      const text = JSON.stringify(aggregated(registry, path === '/api'));
      response
        .writeHead(200, {
          'content-type': 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
        })
        .end(text);
    } else if (path === '/api') {
      sendJson(response, 200, { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] });
    } else if (path === '/apis') sendJson(response, 200, groupList(registry));
    else if (path === '/openapi/v3') sendJson(response, 200, this.openApi.index());
    else if (path === '/openapi/v2') {
      if (accept === '' || /application\/json|\*\/\*/.test(accept)) {
        sendJson(response, 200, this.openApi.swagger());
      } else if (accept.includes(SWAGGER_PROTOBUF)) {
        // Written with a dot: the name it is asked for by is not a media type that Go can read.
        const type = SWAGGER_PROTOBUF.replace('@', '.');
        response.writeHead(200, { 'content-type': type }).end(emptySwagger());
      } else throw new ApiError(406, 'NotAcceptable', 'only application/json is served here');
    } else return this.versionPath(path, response);
    return true;
  }

  /** `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION` and their OpenAPI documents. */
  private versionPath(path: string, response: ServerResponse): boolean {
    const { registry } = this.objects;
    const match = /^(\/openapi\/v3)?\/(?:api\/(v1)|apis\/([^/]+)(?:\/([^/]+))?)$/.exec(path);
    if (!match) return false;
    const [, document, core, group = '', version = core] = match;
    if (version === undefined) {
      const entry = groupEntry(registry, group);
      if (!entry || document) throw noSuchPath();
      sendJson(response, 200, entry);
      return true;
    }
    const found = document ? this.openApi.document(group, version) : resourceList(registry, group, version);
    if (!found) throw noSuchPath();
    sendJson(response, 200, found);
    return true;
  }

  private async resource(
    url: URL,
    user: User,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const path = parseResourcePath(url.pathname);
    const resource = path && this.objects.registry.find(path.group, path.version, path.plural);
    if (!path || !resource || path.rest.length > 0) throw noSuchPath();
    if (path.namespace !== undefined && !resource.namespaced) throw noSuchPath();
    const { namespace, name, subresource } = path;
    const method = request.method ?? 'GET';
    const call: Call = {
      method,
      resource,
      namespace,
      name,
      subresource,
      query: url.searchParams,
      user,
      request,
      response,
    };
    if (resource.transient) return this.transient(call);
    if (subresource === 'log' && resource.storage === '/pods')
      return proxyRequest(this.objects.store, this.objects.require(resource, namespace, name!), 'log', call);
    if (await serveSubresource(this.objects, this.authenticator, call)) return;
    if (subresource !== undefined && !resource.subresources.includes(subresource)) throw noSuchPath();
    if (!IS_STATUS.has(subresource)) throw methodNotAllowed();
    await serveRest(this.objects, call);
  }

  private async transient(call: Call): Promise<void> {
    if (call.method !== 'POST') throw methodNotAllowed();
    if (call.resource.kind === 'Binding') return serveBinding(this.objects, call);
    const body = asDict(parseBody(await readBody(call.request), mediaType(call.request)));
    sendJson(call.response, 201, review(call.resource, body, call.user, this.authenticator));
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    try {
      const url = new URL(request.url ?? '/', 'https://server');
      this.userFor(request, url.pathname);
      const path = parseResourcePath(url.pathname);
      const resource = path && this.objects.registry.find(path.group, path.version, path.plural);
      if (!path || resource?.storage !== '/pods' || !STREAMS.has(path.subresource ?? '')) throw noSuchPath();
      const pod = this.objects.require(resource, path.namespace, path.name!);
      const stream = { pod, subresource: path.subresource!, query: url.searchParams };
      proxyUpgrade(this.objects.store, stream, request, socket, head);
    } catch (error) {
      if (!(error instanceof ApiError)) this.report(error);
      refuseUpgrade(
        socket,
        error instanceof ApiError ? error : new ApiError(500, 'InternalError', String(error)),
      );
    }
  }

  /** Starts listening; resolves with the port in use. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.http.once('error', reject);
      this.http.listen(port, host, () => {
        const address = this.http.address();
        resolve(typeof address === 'object' && address ? address.port : port);
      });
    });
  }

  close(): Promise<void> {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(() => resolve()));
  }
}
