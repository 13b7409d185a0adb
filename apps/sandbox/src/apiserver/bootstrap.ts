// SPDX-License-Identifier: Apache-2.0
import type { Dict } from './model.ts';
import type { Objects, WriteOptions } from './objects.ts';

const OPTIONS: WriteOptions = {
  dryRun: false,
  manager: 'kube-apiserver',
  validation: 'Ignore',
  warn: () => undefined,
};

export interface BootstrapOptions {
  /** Where pods reach this server: address and port behind the Service `kubernetes`. */
  readonly advertiseAddress: string;
  readonly advertisePort: number;
  readonly serviceAddress: string;
}

/** Objects every cluster has from its start. */
export function bootstrap(objects: Objects, options: BootstrapOptions): void {
  const create = (version: string, plural: string, namespace: string | undefined, body: Dict): void => {
    const [group, name] = version.includes('/') ? version.split('/') : ['', version];
    objects.create(objects.registry.find(group!, name!, plural)!, namespace, body, OPTIONS);
  };
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    create('v1', 'namespaces', undefined, { metadata: { name } });
  const labels = { component: 'apiserver', provider: 'kubernetes' };
  create('v1', 'services', 'default', {
    metadata: { name: 'kubernetes', labels },
    spec: {
      clusterIP: options.serviceAddress,
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: options.advertisePort }],
    },
  });
  const port = { name: 'https', port: options.advertisePort, protocol: 'TCP' };
  create('v1', 'endpoints', 'default', {
    metadata: { name: 'kubernetes', labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
    subsets: [{ addresses: [{ ip: options.advertiseAddress }], ports: [port] }],
  });
  create('discovery.k8s.io/v1', 'endpointslices', 'default', {
    metadata: { name: 'kubernetes', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [options.advertiseAddress], conditions: { ready: true } }],
    ports: [port],
  });
  create(
    'scheduling.k8s.io/v1',
    'priorityclasses',
    undefined,
    priority('system-cluster-critical', 2_000_000_000),
  );
  create(
    'scheduling.k8s.io/v1',
    'priorityclasses',
    undefined,
    priority('system-node-critical', 2_000_001_000),
  );
  create('rbac.authorization.k8s.io/v1', 'clusterroles', undefined, {
    metadata: { name: 'cluster-admin', labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' } },
    rules: [
      { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
      { nonResourceURLs: ['*'], verbs: ['*'] },
    ],
  });
}

const priority = (name: string, value: number): Dict => ({ metadata: { name }, value, globalDefault: false });
