// SPDX-License-Identifier: Apache-2.0
// Environment variables and $(NAME) references of a container, from objects given as values.
import { describe, expect, it } from '@jest/globals';
import type { ConfigMap, Container, Pod, Secret, Service } from '@cilium-ts/kube';
import { containerEnvironment, expand, type ObjectLookup } from './environment.ts';
import { ContainerConfigError, type PodFacts } from './pod-facts.ts';
import { parseQuantity, resourceValue } from './downward.ts';

const pod = {
  metadata: { name: 'web-0', namespace: 'shop', uid: 'u1', labels: { app: 'web', tier: 'front' } },
  spec: { containers: [], serviceAccountName: 'seller' },
} as unknown as Pod;
const facts: PodFacts = {
  pod,
  nodeName: 'node1',
  hostIps: ['192.168.77.1'],
  podIps: ['10.244.1.5', 'fd00::5'],
};
const api = { host: '10.96.0.1', port: '443' };
const lookup: ObjectLookup = {
  configMap: (_, name) =>
    name === 'settings' ? ({ data: { COLOUR: 'blue' } } as unknown as ConfigMap) : undefined,
  secret: (_, name) => (name === 'keys' ? ({ data: { PIN: 'MTIzNA==' } } as unknown as Secret) : undefined),
  services: () => [
    {
      metadata: { name: 'my-db' },
      spec: { clusterIP: '10.96.3.3', ports: [{ port: 5432, name: 'sql' }] },
    } as unknown as Service,
  ],
};
const environment = (container: object): Map<string, string> =>
  containerEnvironment(facts, { name: 'c', ...container } as Container, lookup, api);

describe('expand', () => {
  it('replaces known names, keeps unknown ones and reads $$ as one dollar sign', () => {
    const known = new Map([['A', '1']]);
    expect(expand('$(A) $(B) $$(A) $A $$', known)).toBe('1 $(B) $(A) $A $');
  });
});

describe('containerEnvironment', () => {
  it('takes values from fields of the pod, ConfigMaps and Secrets', () => {
    const env = environment({
      envFrom: [{ prefix: 'S_', configMapRef: { name: 'settings' } }],
      env: [
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'IPS', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } },
        { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'PIN', valueFrom: { secretKeyRef: { name: 'keys', key: 'PIN' } } },
        { name: 'BOTH', value: '$(NODE)-$(S_COLOUR)' },
      ],
    });
    expect(Object.fromEntries(env)).toMatchObject({
      NODE: 'node1', IPS: '10.244.1.5,fd00::5', APP: 'web', PIN: '1234', S_COLOUR: 'blue', BOTH: 'node1-blue',
      MY_DB_SERVICE_HOST: '10.96.3.3', MY_DB_SERVICE_PORT_SQL: '5432', KUBERNETES_SERVICE_HOST: '10.96.0.1',
    }); // prettier-ignore
  });

  it('names the object or key that is missing, unless it is optional', () => {
    const ref = (more: object): object => ({
      env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'settings', key: 'NO', ...more } } }],
    });
    expect(() => environment(ref({}))).toThrow("couldn't find key NO in configmap shop/settings");
    expect(environment(ref({ optional: true })).has('X')).toBe(false);
    expect(() => environment({ envFrom: [{ secretRef: { name: 'none' } }] })).toThrow(ContainerConfigError);
    expect(() =>
      environment({ env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath: 'spec.nope' } } }] }),
    ).toThrow('spec.nope');
  });
});

describe('resources', () => {
  it('reads quantities and rounds up to the divisor', () => {
    expect([parseQuantity('250m'), parseQuantity('1Gi'), parseQuantity('2e3'), parseQuantity('x')]).toEqual([
      0.25,
      2 ** 30,
      2000,
      undefined,
    ]);
    const container = {
      name: 'c',
      resources: { limits: { memory: '100Mi', cpu: '1500m' } },
    } as unknown as Container;
    expect(resourceValue(container, 'limits.memory', '1Mi')).toBe('100');
    expect(resourceValue(container, 'limits.cpu')).toBe('2');
    expect(resourceValue(container, 'requests.cpu')).toBe('0');
  });
});
