// SPDX-License-Identifier: Apache-2.0
// Patches, selectors, apply ownership, schemas, protobuf and certificates: pure functions on small inputs.
import { describe, expect, test } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import { applyConfiguration } from './managed-fields.ts';
import { builtinResources } from './builtin.ts';
import { compilePath } from './custom-resources.ts';
import { issueCertificate, objectId } from './der.ts';
import { jsonPatch, mergePatch } from './json-patch.ts';
import type { Dict, KubeObject } from './model.ts';
import { decodeProtobufBody } from './protobuf.ts';
import { compareVersions } from './registry.ts';
import { applySchema } from './schema.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';
import { strategicPatch } from './strategic-patch.ts';

const deployment = builtinResources().find((resource) => resource.kind === 'Deployment')!;

function live(spec: Dict, managedFields: Dict[] = []): KubeObject {
  const metadata = {
    name: 'd',
    namespace: 'n',
    uid: 'u',
    resourceVersion: '1',
    creationTimestamp: 't',
    managedFields,
  };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
}

describe('patches', () => {
  test('JSON patch adds, moves, tests and refuses paths that do not exist', () => {
    const patch = [
      { op: 'test', path: '/a/0', value: 1 },
      { op: 'add', path: '/a/-', value: 3 },
      { op: 'move', from: '/b~1c', path: '/d' },
    ];
    expect(jsonPatch({ a: [1, 2], 'b/c': 'x' }, patch)).toEqual({ a: [1, 2, 3], d: 'x' });
    expect(() => jsonPatch({}, [{ op: 'remove', path: '/a' }])).toThrow('path /a does not exist');
    expect(() => jsonPatch({}, [{ op: 'jump', path: '/a' }])).toThrow('want add, remove');
  });

  test('merge patch removes nulls and replaces lists', () => {
    expect(mergePatch({ a: { b: 1, c: 2 }, l: [1, 2] }, { a: { b: null }, l: [3] })).toEqual({
      a: { c: 2 },
      l: [3],
    });
  });

  test('strategic merge patch merges lists by key and follows directives', () => {
    const spec = {
      containers: [
        { name: 'a', image: '1', env: [{ name: 'X', value: '1' }] },
        { name: 'b', image: '2' },
      ],
    };
    const merged = strategicPatch(
      { spec },
      {
        spec: {
          containers: [
            { name: 'a', image: '9' },
            { name: 'b', $patch: 'delete' },
          ],
        },
      },
      'core.Pod',
    );
    expect(merged.spec.containers).toEqual([{ name: 'a', image: '9', env: [{ name: 'X', value: '1' }] }]);
    const replaced = strategicPatch(
      { spec },
      { spec: { containers: [{ $patch: 'replace' }, { name: 'c' }] } },
      'core.Pod',
    );
    expect(replaced.spec.containers).toEqual([{ name: 'c' }]);
    const finalizers = { metadata: { finalizers: ['a', 'b'] } };
    expect(
      strategicPatch(finalizers, { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } }, 'core.Pod'),
    ).toEqual({
      metadata: { finalizers: ['b'] },
    });
    expect(() => strategicPatch({ spec }, { spec: { containers: [{ image: 'x' }] } }, 'core.Pod')).toThrow(
      'merge key: name',
    );
  });

  test('strategic merge patch orders lists as the client asks', () => {
    const spec = { containers: [{ name: 'a' }, { name: 'b' }] };
    const patch = { spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] } };
    expect(
      strategicPatch({ spec }, patch, 'core.Pod').spec.containers.map((c: Dict) => c.name as string),
    ).toEqual(['b', 'a']);
  });
});

describe('server-side apply', () => {
  const config = (spec: Dict): Dict => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd' },
    spec,
  });
  const write = { manager: 'me', force: false };

  test('takes away what the manager no longer sets, item by item', () => {
    const first = applyConfiguration(
      deployment,
      null,
      config({
        replicas: 1,
        template: {
          spec: {
            containers: [
              { name: 'a', image: 'x' },
              { name: 'b', image: 'y' },
            ],
          },
        },
      }),
      write,
    );
    const stored = {
      ...live(first.object.spec as Dict),
      metadata: { ...live({}).metadata, managedFields: first.managedFields },
    };
    const second = applyConfiguration(
      deployment,
      stored,
      config({ template: { spec: { containers: [{ name: 'a', image: 'x' }] } } }),
      write,
    );
    expect(second.object.spec).toEqual({ template: { spec: { containers: [{ name: 'a', image: 'x' }] } } });
  });

  test('names the owner of a contested field and yields to force', () => {
    const others = [
      {
        manager: 'hpa',
        operation: 'Update',
        apiVersion: 'apps/v1',
        fieldsType: 'FieldsV1',
        fieldsV1: { 'f:spec': { 'f:replicas': {} } },
      },
    ];
    const stored = live({ replicas: 5 }, others);
    expect(() => applyConfiguration(deployment, stored, config({ replicas: 2 }), write)).toThrow(
      'conflict with "hpa" using apps/v1: .spec.replicas',
    );
    const forced = applyConfiguration(deployment, stored, config({ replicas: 2 }), { ...write, force: true });
    expect(forced.managedFields.map((entry) => entry.manager as string)).toEqual(['me']);
    const shared = applyConfiguration(deployment, stored, config({ replicas: 5 }), write);
    expect(shared.managedFields.map((entry) => entry.manager as string)).toEqual(['hpa', 'me']);
  });
});

describe('selectors', () => {
  test.each([
    ['a=b', true],
    ['a!=b', false],
    ['a in (b, c),x', true],
    ['a notin (c)', true],
    ['!y,a==b', true],
    ['!x', false],
  ])('label selector %s', (text, expected) => {
    expect(parseLabelSelector(text)({ a: 'b', x: '' })).toBe(expected);
  });

  test('malformed label selectors and unknown fields are refused', () => {
    expect(() => parseLabelSelector('a in b')).toThrow('invalid label selector term');
    expect(() => parseFieldSelector('spec.foo=1', '/pods')).toThrow('field label not supported: spec.foo');
    expect(parseFieldSelector('spec.nodeName=n1', '/pods')({ ...live({}), spec: { nodeName: 'n1' } })).toBe(
      true,
    );
  });
});

test('versions order as Kubernetes prefers them', () => {
  expect(['v1alpha1', 'v2', 'v1', 'v1beta2', 'foo'].sort(compareVersions)).toEqual([
    'v2',
    'v1',
    'v1beta2',
    'v1alpha1',
    'foo',
  ]);
});

test('printer column paths read fields, indexes and filtered lists', () => {
  const object = {
    status: {
      conditions: [
        { type: 'A', status: '1' },
        { type: 'Valid', status: 'True' },
      ],
    },
    'a.b': [7],
  };
  expect(compilePath('.status.conditions[?(@.type=="Valid")].status')(object)).toEqual(['True']);
  expect(compilePath('.status.conditions[1].type')(object)).toEqual(['Valid']);
  expect(compilePath('.a\\.b[0]')(object)).toEqual([7]);
  expect(compilePath('.none.at.all')(object)).toEqual([]);
});

test('structural schemas prune, default and name the path of each fault', () => {
  const schema = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: {
          n: { type: 'integer', minimum: 1 },
          mode: { type: 'string', default: 'x' },
          list: {
            type: 'array',
            items: { type: 'object', required: ['k'], properties: { k: { type: 'string' } } },
          },
          one: {
            type: 'object',
            properties: { a: { type: 'string' }, b: { type: 'string' } },
            oneOf: [{ required: ['a'] }, { required: ['b'] }],
          },
        },
      },
    },
  };
  const object = { ...live({}), spec: { n: 0, list: [{ k: 1 }, {}], extra: true, one: {} } } as KubeObject;
  const unknown: string[] = [];
  const faults = applySchema(schema, object, unknown).map((error) => error.field);
  expect(unknown).toEqual(['spec.extra']);
  expect(object.spec.mode).toBe('x');
  expect(faults.sort()).toEqual(['spec.list[0].k', 'spec.list[1].k', 'spec.n', 'spec.one']);
});

describe('protobuf', () => {
  const field = (number: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const envelope = (apiVersion: string, kind: string, raw: Buffer): Buffer => {
    const meta = Buffer.concat([field(1, Buffer.from(apiVersion)), field(2, Buffer.from(kind))]);
    return Buffer.concat([Buffer.from('k8s\0'), field(1, meta), field(2, raw)]);
  };

  test('decodes maps and bytes, leaves out empty plain fields', () => {
    const meta = Buffer.concat([field(1, Buffer.from('s')), field(3, Buffer.alloc(0))]);
    const entry = Buffer.concat([field(1, Buffer.from('k')), field(2, Buffer.from('v'))]);
    const raw = Buffer.concat([field(1, meta), field(2, entry)]);
    expect(decodeProtobufBody(envelope('v1', 'Secret', raw))).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      data: { k: 'dg==' },
    });
  });

  test('refuses damaged and unknown bodies by name', () => {
    expect(() => decodeProtobufBody(Buffer.from('nope'))).toThrow('lacks the k8s prefix');
    expect(() => decodeProtobufBody(envelope('v1', 'Secret', Buffer.from([0x0a, 0x7f])))).toThrow('damaged');
    expect(() => decodeProtobufBody(envelope('foo/v1', 'Bar', Buffer.alloc(0)))).toThrow('send JSON');
  });
});

test('certificates are signed by their authority and carry the names asked for', () => {
  const ca = issueCertificate({ subject: { commonName: 'ca' }, days: 10, use: 'authority' });
  const leaf = issueCertificate(
    {
      subject: { commonName: 'server', organizations: ['o'] },
      days: 10,
      use: 'server',
      names: ['kubernetes', '10.96.0.1', 'fd00::1'],
    },
    ca,
  );
  const authority = new X509Certificate(ca.pem);
  const certificate = new X509Certificate(leaf.pem);
  expect(certificate.verify(authority.publicKey)).toBe(true);
  expect(certificate.checkIssued(authority)).toBe(true);
  expect(authority.ca).toBe(true);
  expect(certificate.subjectAltName).toBe(
    'DNS:kubernetes, IP Address:10.96.0.1, IP Address:FD00:0:0:0:0:0:0:1',
  );
  expect(objectId('1.2.840.10045.4.3.2').toString('hex')).toBe('06082a8648ce3d040302');
});
