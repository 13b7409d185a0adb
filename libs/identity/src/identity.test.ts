// SPDX-License-Identifier: Apache-2.0
// Tested: label texts, which labels make an identity, reserved identities. How: fixed cases and round trips.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  RESERVED_IDENTITIES,
  formatLabel,
  identityScope,
  labelFilter,
  labelSetKey,
  labelsFromMap,
  labelsToMap,
  parseLabel,
  podIdentityLabels,
  reservedIdentity,
} from './index.ts';

describe('labels', () => {
  test.each([
    ['k8s:app=a', { source: 'k8s', key: 'app', value: 'a' }],
    ['reserved:host', { source: 'reserved', key: 'host', value: '' }],
    ['app=a=b', { source: 'unspec', key: 'app', value: 'a=b' }],
    ['$world', { source: 'reserved', key: 'world', value: '' }],
  ])('%s', (text, label) => expect(parseLabel(text)).toEqual(label));

  test('survive the map of an identity object, in any order', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9./-]{0,20}$/);
    const label = fc.record({
      source: fc.constant('k8s'),
      key: name,
      value: fc.stringMatching(/^[a-z0-9]{0,8}$/),
    });
    fc.assert(
      fc.property(fc.uniqueArray(label, { selector: ({ key }) => key }), (labels) => {
        expect(labelSetKey(labelsFromMap(labelsToMap(labels)))).toBe(labelSetKey([...labels].reverse()));
        for (const one of labels) expect(parseLabel(formatLabel(one))).toEqual(one);
      }),
    );
  });
});

describe('a pod', () => {
  const pod = {
    namespace: 'production',
    labels: {
      app: 'frontend',
      'pod-template-hash': '6d',
      'app.kubernetes.io/name': 'f',
      'kubernetes.io/x': 'y',
    },
    namespaceLabels: { 'kubernetes.io/metadata.name': 'production' },
    serviceAccount: '',
    cluster: 'default',
  };

  test('has the identity of its security-relevant labels', () =>
    expect(podIdentityLabels(pod).map(formatLabel)).toEqual([
      'k8s:app=frontend',
      'k8s:app.kubernetes.io/name=f',
      'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=production',
      'k8s:io.cilium.k8s.policy.cluster=default',
      'k8s:io.cilium.k8s.policy.serviceaccount=default',
      'k8s:io.kubernetes.pod.namespace=production',
    ]));

  test('a list of labels to include leaves out all others but the fixed ones', () => {
    const keys = podIdentityLabels({ ...pod, labels: { app: 'a', team: 'b' } }, labelFilter('k8s:team')).map(
      ({ key }) => key,
    );
    expect(keys).toContain('team');
    expect(keys).not.toContain('app');
    expect(keys).toContain('io.kubernetes.pod.namespace');
  });
});

test('reserved identities have the numbers that users know', () => {
  const names = Object.fromEntries(RESERVED_IDENTITIES.map(({ id, name }) => [name, id]));
  expect(names).toMatchObject({
    host: 1,
    world: 2,
    health: 4,
    init: 5,
    'remote-node': 6,
    'kube-apiserver': 7,
  });
  expect(reservedIdentity(2)?.name).toBe('world');
  expect([1, 256, 0x01000001, 0x02000001].map(identityScope)).toEqual([
    'reserved',
    'cluster',
    'cidr',
    'remote-node',
  ]);
});
