// SPDX-License-Identifier: Apache-2.0
import { Lifecycle, systemClock, type Stoppable } from '@cilium-ts/base';
import type { CiliumIdentity } from '@cilium-ts/crd';
import {
  KubeClient,
  LeaderElector,
  loadKubeConfig,
  NAMESPACES,
  PODS,
  Reflector,
  type Namespace,
  type Pod,
} from '@cilium-ts/kube';
import { createMetrics, serveHealth, startTracing, type ComponentLogger } from '@cilium-ts/telemetry';
import { ENDPOINTS, GarbageCollector } from './garbage.ts';
import { IdentityAllocator, IDENTITIES } from './identity-allocator.ts';
import type { OperatorConfig } from './operator-config.ts';

/** Watches always; allocates and cleans only while it leads. */
export async function runOperator(config: OperatorConfig, log: ComponentLogger): Promise<Stoppable> {
  const life = new Lifecycle();
  life.add(await startTracing({ service: 'cilium-operator' }));
  const metrics = life.add(createMetrics());
  const client = new KubeClient(await loadKubeConfig());
  life.onStop(() => client.close());
  const pods = life.add(new Reflector({ client, resource: PODS, transform: trimPod, log }));
  const namespaces = life.add(new Reflector({ client, resource: NAMESPACES, transform: trimNamespace, log }));
  const identities = life.add(new Reflector<CiliumIdentity>({ client, resource: IDENTITIES, log }));
  const endpoints = life.add(new Reflector({ client, resource: ENDPOINTS, log }));
  for (const reflector of [pods, namespaces, identities, endpoints]) reflector.start();

  let leading: Lifecycle | undefined;
  const elector = life.add(
    new LeaderElector({
      client,
      namespace: config.namespace,
      name: 'cilium-operator',
      identity: config.candidate,
      log,
      onStarted: () => {
        leading = new Lifecycle();
        const allocator = leading.add(
          new IdentityAllocator({
            client,
            pods,
            namespaces,
            identities,
            cluster: config.cluster,
            filter: config.labels,
            log,
          }),
        );
        const { identityGcIntervalMs: intervalMs, identityHeartbeatTimeoutMs: unusedMs } = config;
        const garbage = leading.add(
          new GarbageCollector({
            client,
            allocator,
            pods,
            identities,
            endpoints,
            intervalMs,
            unusedMs,
            clock: systemClock,
            log,
          }),
        );
        allocator.start();
        garbage.start();
        log.info({ candidate: config.candidate }, 'leading');
      },
      onStopped: () => {
        void leading?.stop();
        leading = undefined;
      },
    }),
  );
  life.onStop(() => leading?.stop());
  metrics.observe('cilium_operator_leading', 'Whether this replica leads', 'gauge', (report) =>
    report(elector.isLeader ? 1 : 0),
  );
  metrics.observe('cilium_operator_identities', 'Number of security identities', 'gauge', (report) =>
    report(identities.store.list().length),
  );
  const waiting = (): boolean => !pods.hasSynced || !identities.hasSynced;
  const health = (): string | undefined => (waiting() ? 'waiting for the Kubernetes API' : undefined);
  if (config.apiAddress) life.add(await serveHealth(config.apiAddress, health, metrics));
  elector.start();
  return life;
}

function trimPod(pod: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels } = pod.metadata;
  const { hostNetwork, serviceAccountName } = pod.spec ?? {};
  return {
    metadata: { name, namespace, uid, resourceVersion, labels },
    spec: { hostNetwork, serviceAccountName },
  } as Pod;
}

function trimNamespace(namespace: Namespace): Namespace {
  const { name, uid, resourceVersion, labels } = namespace.metadata;
  return { metadata: { name, uid, resourceVersion, labels } } as Namespace;
}
