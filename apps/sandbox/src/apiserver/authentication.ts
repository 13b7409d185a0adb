// SPDX-License-Identifier: Apache-2.0
import { createPublicKey, randomUUID, sign, timingSafeEqual, verify } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Credentials } from './credentials.ts';
import type { Dict, KubeObject } from './model.ts';
import type { Store } from './store.ts';

export interface User {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
export const ANONYMOUS: User = { username: 'system:anonymous', groups: ['system:unauthenticated'] };
const ADMIN: User = { username: 'kubernetes-admin', groups: ['system:masters', 'system:authenticated'] };

export interface TokenRequest {
  readonly serviceAccount: KubeObject;
  readonly audiences: readonly string[];
  readonly seconds: number;
  /** The object whose life bounds the token's, usually the pod. */
  readonly boundObject?: { readonly kind: string; readonly name: string; readonly uid: string };
}

/** Who a request is from: client certificates of the server's authority, the admin's token, service-account tokens. */
export class Authenticator {
  private readonly credentials: Credentials;
  private readonly store: Store;
  private readonly keyId: string;

  constructor(credentials: Credentials, store: Store) {
    this.credentials = credentials;
    this.store = store;
    this.keyId = Buffer.from(
      createPublicKey(credentials.tokenPublicKey.export({ type: 'spki', format: 'pem' }))
        .export({ type: 'spki', format: 'der' })
        .subarray(-16),
    ).toString('base64url');
  }

  /** Null when credentials were given and are not valid (401); ANONYMOUS when none were given. */
  authenticate(request: IncomingMessage): User | null {
    const socket = request.socket as TLSSocket;
    const subject = socket.authorized ? (socket.getPeerCertificate().subject as Dict | undefined) : undefined;
    if (subject?.CN) {
      const organizations = [subject.O ?? []].flat() as string[];
      return { username: String(subject.CN), groups: [...organizations, 'system:authenticated'] };
    }
    const header = request.headers.authorization;
    const offered = String(request.headers['sec-websocket-protocol'] ?? '');
    const inProtocol = /base64url\.bearer\.authorization\.k8s\.io\.([\w-]+)/.exec(offered)?.[1];
    const token = header?.startsWith('Bearer ')
      ? header.slice(7).trim()
      : inProtocol && Buffer.from(inProtocol, 'base64url').toString();
    return token ? this.userOfToken(token) : ANONYMOUS;
  }

  /** The user a bearer token stands for, or null. */
  userOfToken(token: string, audience?: string): User | null {
    const admin = Buffer.from(this.credentials.adminToken);
    const given = Buffer.from(token);
    if (given.length === admin.length && timingSafeEqual(given, admin)) return ADMIN;
    const claims = this.verifiedClaims(token);
    if (!claims || claims.iss !== ISSUER || Number(claims.exp) * 1000 < Date.now()) return null;
    const audiences = [claims.aud].flat() as string[];
    if (!audiences.includes(audience ?? ISSUER)) return null;
    return this.boundUser(claims['kubernetes.io'] as Dict | undefined);
  }

  private verifiedClaims(token: string): Dict | null {
    const [head, body, signature] = token.split('.');
    if (!head || !body || !signature) return null;
    try {
      const key = { key: this.credentials.tokenPublicKey, dsaEncoding: 'ieee-p1363' as const };
      if (!verify('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url')))
        return null;
      return JSON.parse(Buffer.from(body, 'base64url').toString()) as Dict;
    } catch {
      return null;
    }
  }

  /** A token dies with its account and with the pod it is bound to. */
  private boundUser(bound: Dict | undefined): User | null {
    const namespace = String(bound?.namespace ?? '');
    const account = this.store.get('/serviceaccounts', namespace, String(bound?.serviceaccount?.name));
    if (!account || account.metadata.uid !== bound?.serviceaccount?.uid) return null;
    const extra: Record<string, string[]> = {};
    if (bound?.pod) {
      const pod = this.store.get('/pods', namespace, String(bound.pod.name));
      if (!pod || pod.metadata.uid !== bound.pod.uid) return null;
      extra['authentication.kubernetes.io/pod-name'] = [String(bound.pod.name)];
      extra['authentication.kubernetes.io/pod-uid'] = [String(bound.pod.uid)];
    }
    return {
      username: `system:serviceaccount:${namespace}:${account.metadata.name}`,
      uid: account.metadata.uid,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      extra,
    };
  }

  /** Mints a service-account token (ES256). */
  mint(request: TokenRequest): { readonly token: string; readonly expires: string } {
    const { serviceAccount, boundObject } = request;
    const now = Math.floor(Date.now() / 1000);
    const { name, namespace, uid } = serviceAccount.metadata;
    const claims = {
      aud: request.audiences.length > 0 ? request.audiences : [ISSUER],
      exp: now + request.seconds,
      iat: now,
      nbf: now,
      iss: ISSUER,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace,
        serviceaccount: { name, uid },
        ...(boundObject
          ? { [boundObject.kind.toLowerCase()]: { name: boundObject.name, uid: boundObject.uid } }
          : {}),
      },
      sub: `system:serviceaccount:${namespace}:${name}`,
    };
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${encode({ alg: 'ES256', kid: this.keyId, typ: 'JWT' })}.${encode(claims)}`;
    const key = { key: this.credentials.tokenKey, dsaEncoding: 'ieee-p1363' as const };
    const signature = sign('sha256', Buffer.from(signed), key).toString('base64url');
    return {
      token: `${signed}.${signature}`,
      expires: new Date(claims.exp * 1000).toISOString().replace(/\.\d+Z/, 'Z'),
    };
  }

  /** The public signing key as a JSON Web Key Set, for `/openid/v1/jwks`. */
  keySet(): Dict {
    const jwk = this.credentials.tokenPublicKey.export({ format: 'jwk' });
    return { keys: [{ ...jwk, use: 'sig', alg: 'ES256', kid: this.keyId }] };
  }
}
