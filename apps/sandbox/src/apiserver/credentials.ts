// SPDX-License-Identifier: Apache-2.0
import { createPrivateKey, createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueCertificate, type Certificate, type Subject } from './der.ts';

const AUTHORITY: Subject = { commonName: 'cilium-ts-sandbox-ca' };
const DAYS = 3650;

/** Keys and certificates of one server, kept in its data directory. */
export interface Credentials {
  readonly caPem: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly adminCert: string;
  readonly adminKey: string;
  /** Bearer token that counts as admin too, for clients without client certificates. */
  readonly adminToken: string;
  readonly tokenKey: KeyObject;
  readonly tokenPublicKey: KeyObject;
}

/** Writes so that a reader never sees half a file. */
function writeSecret(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function authority(directory: string): Certificate {
  const cert = join(directory, 'ca.crt');
  const key = join(directory, 'ca.key');
  if (existsSync(cert) && existsSync(key)) {
    const keyPem = readFileSync(key, 'utf8');
    return { pem: readFileSync(cert, 'utf8'), keyPem, key: createPrivateKey(keyPem), subject: AUTHORITY };
  }
  const made = issueCertificate({ subject: AUTHORITY, days: DAYS, use: 'authority' });
  writeSecret(key, made.keyPem);
  writeSecret(cert, made.pem);
  return made;
}

/** Reads the authority and the token key of an earlier run or makes them; server and admin certificates are always new. */
export function loadCredentials(directory: string, serverNames: readonly string[]): Credentials {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const ca = authority(directory);
  const server = issueCertificate(
    { subject: { commonName: 'kube-apiserver' }, days: DAYS, use: 'server', names: serverNames },
    ca,
  );
  const admin = issueCertificate(
    {
      subject: { commonName: 'kubernetes-admin', organizations: ['system:masters'] },
      days: DAYS,
      use: 'client',
    },
    ca,
  );
  const tokenKeyPath = join(directory, 'sa.key');
  // An authority's key pair is as good a P-256 key as any; only the key is kept.
  if (!existsSync(tokenKeyPath))
    writeSecret(tokenKeyPath, issueCertificate({ subject: AUTHORITY, days: 1, use: 'authority' }).keyPem);
  const tokenKey = createPrivateKey(readFileSync(tokenKeyPath));
  const tokenPublicKey = createPublicKey(tokenKey);
  writeSecret(join(directory, 'sa.pub'), tokenPublicKey.export({ type: 'spki', format: 'pem' }).toString());
  writeSecret(join(directory, 'server.crt'), server.pem);
  writeSecret(join(directory, 'server.key'), server.keyPem);
  writeSecret(join(directory, 'admin.crt'), admin.pem);
  writeSecret(join(directory, 'admin.key'), admin.keyPem);
  return {
    caPem: ca.pem,
    serverCert: server.pem,
    serverKey: server.keyPem,
    adminCert: admin.pem,
    adminKey: admin.keyPem,
    adminToken: randomBytes(24).toString('hex'),
    tokenKey,
    tokenPublicKey,
  };
}

/** Writes the admin's kubeconfig for a server at `url`; client certificate and token both are in it. */
export function writeKubeconfig(path: string, url: string, credentials: Credentials): void {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  writeSecret(
    path,
    [
      'apiVersion: v1',
      'kind: Config',
      'clusters:',
      '- name: cilium-ts',
      '  cluster:',
      `    server: ${url}`,
      `    certificate-authority-data: ${base64(credentials.caPem)}`,
      'users:',
      '- name: kubernetes-admin',
      '  user:',
      `    client-certificate-data: ${base64(credentials.adminCert)}`,
      `    client-key-data: ${base64(credentials.adminKey)}`,
      'contexts:',
      '- name: cilium-ts',
      '  context:',
      '    cluster: cilium-ts',
      '    user: kubernetes-admin',
      'current-context: cilium-ts',
      '',
    ].join('\n'),
  );
}
