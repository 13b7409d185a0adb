// SPDX-License-Identifier: Apache-2.0
import { createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { mappedBytes } from '@cilium-ts/net';

// A small X.509 v3 builder: ECDSA P-256 keys, SHA-256 signatures, the extensions TLS clients look at.

/** One DER element. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>= 8) bytes.unshift(rest & 0xff);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const boolean = (value: boolean): Buffer => der(0x01, Buffer.from([value ? 0xff : 0]));
const bitString = (content: Uint8Array, unused = 0): Buffer => der(0x03, Buffer.from([unused]), content);
const utf8 = (text: string): Buffer => der(0x0c, Buffer.from(text));
const explicit = (tag: number, content: Uint8Array): Buffer => der(0xa0 | tag, content);

function integer(bytes: Uint8Array): Buffer {
  const first = bytes[0] ?? 0;
  return first & 0x80 ? der(0x02, Buffer.from([0]), bytes) : der(0x02, bytes);
}

/** Object identifier from its dotted form. */
export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift(0x80 | (left & 0x7f));
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

const ECDSA_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'));

/** UTCTime until 2049, which is as far as this server's certificates go. */
function utcTime(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${text}Z`));
}

export interface Subject {
  readonly commonName: string;
  /** Kubernetes reads groups from here. */
  readonly organizations?: readonly string[];
}

function distinguishedName(subject: Subject): Buffer {
  const attribute = (id: string, value: string): Buffer => der(0x31, sequence(objectId(id), utf8(value)));
  const organizations = (subject.organizations ?? []).map((name) => attribute('2.5.4.10', name));
  return sequence(...organizations, attribute('2.5.4.3', subject.commonName));
}

function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  return sequence(objectId(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function addressBytes(address: string): Buffer {
  const mapped = Buffer.from(mappedBytes(address));
  return address.includes(':') ? mapped : mapped.subarray(12);
}

function alternativeNames(names: readonly string[]): Buffer {
  const entries = names.map((name) =>
    /^[\d.]+$|:/.test(name) ? der(0x87, addressBytes(name)) : der(0x82, Buffer.from(name)),
  );
  return extension('2.5.29.17', false, sequence(...entries));
}

export interface Certificate {
  readonly pem: string;
  readonly keyPem: string;
  readonly key: KeyObject;
  readonly subject: Subject;
}

export interface CertificateRequest {
  readonly subject: Subject;
  /** Validity in days from an hour ago. */
  readonly days: number;
  readonly use: 'authority' | 'server' | 'client';
  /** DNS names and IP addresses. */
  readonly names?: readonly string[];
}

function extensions(request: CertificateRequest): Buffer {
  const authority = request.use === 'authority';
  const usage = authority ? bitString(Buffer.from([0x06]), 1) : bitString(Buffer.from([0x80]), 7);
  const list = [
    extension('2.5.29.19', true, authority ? sequence(boolean(true)) : sequence()),
    extension('2.5.29.15', true, usage),
  ];
  if (!authority) {
    const purpose = request.use === 'server' ? '1.3.6.1.5.5.7.3.1' : '1.3.6.1.5.5.7.3.2';
    list.push(extension('2.5.29.37', false, sequence(objectId(purpose))));
  }
  if (request.names?.length) list.push(alternativeNames(request.names));
  return explicit(3, sequence(...list));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Makes a key pair and a certificate for it, signed by `issuer`, or by itself when there is none. */
export function issueCertificate(request: CertificateRequest, issuer?: Certificate): Certificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const now = Date.now() - 3_600_000;
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_SHA256,
    distinguishedName(issuer?.subject ?? request.subject),
    sequence(utcTime(new Date(now)), utcTime(new Date(now + request.days * 86_400_000))),
    distinguishedName(request.subject),
    publicKey,
    extensions(request),
  );
  const signature = sign('sha256', body, issuer?.key ?? privateKey);
  return {
    pem: pem('CERTIFICATE', sequence(body, ECDSA_SHA256, bitString(signature))),
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    key: privateKey,
    subject: request.subject,
  };
}
