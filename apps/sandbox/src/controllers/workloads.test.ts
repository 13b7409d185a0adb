// SPDX-License-Identifier: Apache-2.0
// Tests the workload controllers and the scheduler: what users do with kubectl and what they then see in status.
// The embedded API server runs as a process; kubelets are played by a reflector that marks pods as running.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Lifecycle, silentLogger, type Logger } from '@cilium-ts/base';
import {
  CONFIG_MAPS,
  CONTROLLER_REVISIONS,
  DAEMON_SETS,
  DEPLOYMENTS,
  ENDPOINTS,
  ENDPOINT_SLICES,
  EVENTS,
  JOBS,
  NAMESPACES,
  NODES,
  PODS,
  REPLICA_SETS,
  SERVICES,
  SERVICE_ACCOUNTS,
  STATEFUL_SETS,
  waitFor,
  type Deployment,
  type Job,
  type KubeClient,
  type Pod,
  type PodTemplateSpec,
} from '@cilium-ts/kube';
import { startControllers, startScheduler } from './index.ts';
import { PLAY, createNamespace, createNode, startApi, startFakeKubelets } from './testing.ts';

const parts = new Lifecycle();
let client: KubeClient;
const complaints: string[] = [];
const log: Logger = {
  ...silentLogger,
  warn: (fields, message) => complaints.push(`${message} ${JSON.stringify(fields)}`),
  error: (fields, message) => complaints.push(`${message} ${JSON.stringify(fields)}`),
};

function template(
  app: string,
  more: { annotations?: Record<string, string>; image?: string } = {},
): PodTemplateSpec {
  return {
    metadata: { labels: { app }, ...(more.annotations ? { annotations: more.annotations } : {}) },
    spec: { containers: [{ name: 'main', image: more.image ?? 'one', command: ['sleep', '1'] }] },
  } as PodTemplateSpec;
}

function deployment(namespace: string, name: string, spec: Partial<NonNullable<Deployment['spec']>>) {
  const selector = { matchLabels: { app: name } };
  return { metadata: { name, namespace }, spec: { selector, template: template(name), ...spec } };
}

async function podsOf(namespace: string): Promise<Pod[]> {
  return (await client.list(PODS, { namespace })).items;
}

const until = <T>(what: string, look: () => Promise<T>) =>
  waitFor(what, look, { timeoutMs: 15_000, intervalMs: 20 }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${complaints.join('\n')}`);
  });

async function rolledOut(namespace: string, name: string, replicas: number): Promise<Deployment> {
  return until(`rollout of ${name}`, async () => {
    const now = await client.get(DEPLOYMENTS, { namespace, name });
    const { status = {} } = now;
    const done =
      (status.observedGeneration ?? 0) >= (now.metadata.generation ?? 0) &&
      (status.updatedReplicas ?? 0) === replicas &&
      (status.replicas ?? 0) === replicas &&
      (status.availableReplicas ?? 0) === replicas;
    return done && now;
  });
}

beforeAll(async () => {
  const api = parts.add(await startApi());
  client = api.client;
  await createNode(client, 'n1');
  await createNode(client, 'n2');
  await createNode(client, 'out1', {
    metadata: { name: 'out1', labels: { 'cilium.io/no-schedule': 'true' } },
  });
  parts.add(startFakeKubelets(client));
  parts.add(startControllers({ client, log }));
  parts.add(startScheduler({ client, log }));
}, 30_000);

afterAll(() => parts.stop());

describe('namespaces', () => {
  it('get a default service account and the CA', async () => {
    await createNamespace(client, 'fresh');
    await until('service account', () =>
      client.find(SERVICE_ACCOUNTS, { namespace: 'fresh', name: 'default' }),
    );
    const ca = await until('CA', () =>
      client.find(CONFIG_MAPS, { namespace: 'fresh', name: 'kube-root-ca.crt' }),
    );
    expect(ca.data?.['ca.crt']).toContain('BEGIN CERTIFICATE');
  });

  it('are emptied and gone after deletion, and can be made again at once', async () => {
    await createNamespace(client, 'doomed');
    await client.create(DEPLOYMENTS, deployment('doomed', 'web', { replicas: 3 }));
    await rolledOut('doomed', 'web', 3);
    await client.delete(NAMESPACES, { name: 'doomed' });
    await until('the end', async () => (await client.find(NAMESPACES, { name: 'doomed' })) === undefined);
    await createNamespace(client, 'doomed');
    expect(await podsOf('doomed')).toEqual([]);
  }, 20_000);
});

describe('Deployment', () => {
  it('rolls out, scales, restarts and rolls back as kubectl expects', async () => {
    const namespace = 'rolling';
    const name = 'web';
    await createNamespace(client, namespace);
    await client.create(DEPLOYMENTS, deployment(namespace, name, { replicas: 3 }));
    const first = await rolledOut(namespace, name, 3);
    expect(first.status?.conditions?.map(({ type, status, reason }) => [type, status, reason])).toEqual([
      ['Available', 'True', 'MinimumReplicasAvailable'],
      ['Progressing', 'True', 'NewReplicaSetAvailable'],
    ]);
    expect(first.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('1');
    const [set] = (await client.list(REPLICA_SETS, { namespace })).items;
    const hash = set!.metadata.labels?.['pod-template-hash'];
    expect(set!.metadata.name).toBe(`web-${hash}`);
    const pods = await podsOf(namespace);
    expect(pods.every((pod) => pod.metadata.labels?.['pod-template-hash'] === hash)).toBe(true);
    expect(new Set(pods.map((pod) => pod.spec?.nodeName))).toEqual(new Set(['n1', 'n2']));

    await client.patch(DEPLOYMENTS, { namespace, name }, 'merge', { spec: { replicas: 5 } });
    await rolledOut(namespace, name, 5);

    const restartedAt = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
    const patch = { spec: { template: { metadata: { annotations: restartedAt } } } };
    await client.patch(DEPLOYMENTS, { namespace, name }, 'merge', patch);
    const second = await rolledOut(namespace, name, 5);
    expect(second.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('2');
    expect((await client.list(REPLICA_SETS, { namespace })).items).toHaveLength(2);

    const undo = { spec: { template: { metadata: { annotations: null } } } };
    await client.patch(DEPLOYMENTS, { namespace, name }, 'merge', undo);
    const third = await rolledOut(namespace, name, 5);
    expect(third.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('3');
    const back = await client.get(REPLICA_SETS, { namespace, name: set!.metadata.name });
    expect(back.metadata.annotations).toMatchObject({
      'deployment.kubernetes.io/revision': '3',
      'deployment.kubernetes.io/revision-history': '1',
    });
  }, 30_000);

  it('keeps enough pods available while new ones do not become ready', async () => {
    const namespace = 'careful';
    await createNamespace(client, namespace);
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
    await client.create(DEPLOYMENTS, deployment(namespace, 'web', { replicas: 3, strategy }));
    await rolledOut(namespace, 'web', 3);
    const bad = template('web', { annotations: { [PLAY]: 'never' } });
    await client.patch(DEPLOYMENTS, { namespace, name: 'web' }, 'merge', { spec: { template: bad } });
    const now = await until('the stuck rollout', async () => {
      const { status } = await client.get(DEPLOYMENTS, { namespace, name: 'web' });
      return status?.updatedReplicas === 1 && status.replicas === 4 && status;
    });
    expect(now.availableReplicas).toBe(3);
  }, 20_000);

  it('replaces all at once with Recreate: no old pod beside a new one', async () => {
    const namespace = 'recreate';
    await createNamespace(client, namespace);
    await client.create(
      DEPLOYMENTS,
      deployment(namespace, 'web', { replicas: 2, strategy: { type: 'Recreate' } }),
    );
    await rolledOut(namespace, 'web', 2);
    const old = new Set((await podsOf(namespace)).map(({ metadata }) => metadata.uid));
    const next = template('web', { image: 'two' });
    await client.patch(DEPLOYMENTS, { namespace, name: 'web' }, 'merge', { spec: { template: next } });
    await rolledOut(namespace, 'web', 2);
    expect((await podsOf(namespace)).filter(({ metadata }) => old.has(metadata.uid))).toEqual([]);
  }, 20_000);

  it('takes its replica sets and pods with it, and leaves them when told to orphan', async () => {
    const namespace = 'owners';
    await createNamespace(client, namespace);
    await client.create(DEPLOYMENTS, deployment(namespace, 'web', { replicas: 2 }));
    await rolledOut(namespace, 'web', 2);
    await client.delete(DEPLOYMENTS, { namespace, name: 'web' });
    await until('no pods', async () => (await podsOf(namespace)).length === 0);
    await client.create(DEPLOYMENTS, deployment(namespace, 'kept', { replicas: 2 }));
    await rolledOut(namespace, 'kept', 2);
    await client.delete(DEPLOYMENTS, { namespace, name: 'kept' }, { propagationPolicy: 'Orphan' });
    await until(
      'the end',
      async () => (await client.find(DEPLOYMENTS, { namespace, name: 'kept' })) === undefined,
    );
    const [set] = (await client.list(REPLICA_SETS, { namespace })).items;
    expect(set!.metadata.ownerReferences ?? []).toEqual([]);
    expect(await podsOf(namespace)).toHaveLength(2);
    await client.delete(REPLICA_SETS, set!.metadata, { propagationPolicy: 'Foreground' });
    await until('the end', async () => (await client.find(REPLICA_SETS, set!.metadata)) === undefined);
    expect(await podsOf(namespace)).toEqual([]);
  }, 30_000);

  it('brings 200 pods up and makes no one too many', async () => {
    const namespace = 'many';
    await createNamespace(client, namespace);
    await client.create(DEPLOYMENTS, deployment(namespace, 'web', { replicas: 200 }));
    await rolledOut(namespace, 'web', 200);
    expect(await podsOf(namespace)).toHaveLength(200);
    await client.delete(DEPLOYMENTS, { namespace, name: 'web' });
    await until('no pods', async () => (await podsOf(namespace)).length === 0);
  }, 60_000);
});

describe('ReplicaSet', () => {
  it('takes in orphans that match and lets go what no longer matches', async () => {
    const namespace = 'adopt';
    await createNamespace(client, namespace);
    const orphan = {
      metadata: { name: 'orphan', namespace, labels: { app: 'a' } },
      spec: template('a').spec,
    };
    await client.create(PODS, orphan);
    const spec = { replicas: 2, selector: { matchLabels: { app: 'a' } }, template: template('a') };
    await client.create(REPLICA_SETS, { metadata: { name: 'set', namespace }, spec });
    const pods = await until('two owned pods', async () => {
      const all = await podsOf(namespace);
      return all.length === 2 && all.every(({ metadata }) => metadata.ownerReferences?.length === 1) && all;
    });
    expect(pods.map(({ metadata }) => metadata.name)).toContain('orphan');
    await client.patch(PODS, { namespace, name: 'orphan' }, 'merge', { metadata: { labels: { app: 'b' } } });
    await until('a replacement', async () => (await podsOf(namespace)).length === 3);
    const released = await until('the release', async () => {
      const pod = await client.get(PODS, { namespace, name: 'orphan' });
      return (pod.metadata.ownerReferences ?? []).length === 0 && pod;
    });
    expect(released.metadata.deletionTimestamp).toBeUndefined();
  }, 20_000);
});

describe('DaemonSet', () => {
  it('runs on every cluster node, follows new ones and updates in turn', async () => {
    const namespace = 'daemons';
    await createNamespace(client, namespace);
    const spec = { selector: { matchLabels: { app: 'd' } }, template: template('d') };
    await client.create(DAEMON_SETS, { metadata: { name: 'd', namespace }, spec });
    const ready = (count: number) =>
      until(`${count} daemons`, async () => {
        const { status, metadata } = await client.get(DAEMON_SETS, { namespace, name: 'd' });
        return (
          status?.numberAvailable === count &&
          status.updatedNumberScheduled === count &&
          status.observedGeneration === metadata.generation &&
          status
        );
      });
    expect(await ready(2)).toMatchObject({
      desiredNumberScheduled: 2,
      currentNumberScheduled: 2,
      numberReady: 2,
    });
    await createNode(client, 'n3');
    await ready(3);
    await client.delete(NODES, { name: 'n3' });
    await ready(2);
    const next = template('d', { image: 'two' });
    await client.patch(DAEMON_SETS, { namespace, name: 'd' }, 'merge', { spec: { template: next } });
    await ready(2);
    const pods = await podsOf(namespace);
    expect(pods.map(({ spec: { containers } = { containers: [] } }) => containers[0]?.image)).toEqual([
      'two',
      'two',
    ]);
    expect(
      (await client.list(CONTROLLER_REVISIONS, { namespace })).items.map(({ revision }) => revision),
    ).toEqual(expect.arrayContaining([1, 2]));
  }, 30_000);
});

describe('StatefulSet', () => {
  it('makes pods in order with stable names, updates from the top and scales down', async () => {
    const namespace = 'stateful';
    await createNamespace(client, namespace);
    const spec = {
      replicas: 3,
      serviceName: 's',
      selector: { matchLabels: { app: 's' } },
      template: template('s'),
    };
    await client.create(STATEFUL_SETS, { metadata: { name: 's', namespace }, spec });
    const ready = (count: number) =>
      until(`${count} members`, async () => {
        const { status, metadata } = await client.get(STATEFUL_SETS, { namespace, name: 's' });
        return (
          status?.readyReplicas === count &&
          status.updatedReplicas === count &&
          status.replicas === count &&
          status.currentRevision === status.updateRevision &&
          status.observedGeneration === metadata.generation
        );
      });
    await ready(3);
    const pods = await podsOf(namespace);
    expect(pods.map(({ metadata }) => metadata.name).sort()).toEqual(['s-0', 's-1', 's-2']);
    expect(pods.map((pod) => pod.spec?.hostname).sort()).toEqual(['s-0', 's-1', 's-2']);
    const next = template('s', { image: 'two' });
    await client.patch(STATEFUL_SETS, { namespace, name: 's' }, 'merge', { spec: { template: next } });
    await ready(3);
    await client.patch(STATEFUL_SETS, { namespace, name: 's' }, 'merge', { spec: { replicas: 1 } });
    await ready(1);
    expect((await podsOf(namespace)).map(({ metadata }) => metadata.name)).toEqual(['s-0']);
  }, 30_000);
});

describe('Job', () => {
  it('completes, fails at its limit, and goes after its time to live', async () => {
    const namespace = 'jobs';
    await createNamespace(client, namespace);
    const job = (name: string, play: string, more: object) =>
      client.create(JOBS, {
        metadata: { name, namespace },
        spec: {
          ...more,
          template: {
            metadata: { annotations: { [PLAY]: play } },
            spec: { ...template('j').spec!, restartPolicy: 'Never' },
          },
        } as NonNullable<Job['spec']>,
      });
    await job('good', 'Succeeded', { completions: 3, parallelism: 2 });
    await job('bad', 'Failed', { backoffLimit: 0 });
    const condition = (name: string, type: string) =>
      until(`${name} ${type}`, async () => {
        const { status } = await client.get(JOBS, { namespace, name });
        return status?.conditions?.some((one) => one.type === type && one.status === 'True') && status;
      });
    expect(await condition('good', 'Complete')).toMatchObject({ succeeded: 3 });
    expect(await condition('bad', 'Failed')).toMatchObject({ failed: 1 });
    await client.patch(JOBS, { namespace, name: 'good' }, 'merge', { spec: { ttlSecondsAfterFinished: 0 } });
    await until('the end', async () => (await client.find(JOBS, { namespace, name: 'good' })) === undefined);
  }, 20_000);
});

describe('EndpointSlices', () => {
  it('show ready pods of both families with resolved ports, and follow them', async () => {
    const namespace = 'slices';
    await createNamespace(client, namespace);
    const spec = template('web').spec!;
    spec.containers[0]!.ports = [{ name: 'http', containerPort: 8080 }];
    const withPort = { ...template('web'), spec };
    await client.create(DEPLOYMENTS, deployment(namespace, 'web', { replicas: 2, template: withPort }));
    await client.create(SERVICES, {
      metadata: { name: 'web', namespace },
      spec: {
        selector: { app: 'web' },
        ipFamilyPolicy: 'PreferDualStack',
        ports: [{ name: 'web', port: 80, targetPort: 'http' }],
      },
    });
    const slices = await until('both slices', async () => {
      const { items } = await client.list(ENDPOINT_SLICES, { namespace });
      return items.length === 2 && items.every(({ endpoints }) => endpoints?.length === 2) && items;
    });
    expect(slices.map(({ addressType }) => addressType).sort()).toEqual(['IPv4', 'IPv6']);
    expect(slices[0]!.ports).toEqual([{ name: 'web', port: 8080, protocol: 'TCP' }]);
    const [endpoint] = slices[0]!.endpoints!;
    expect(endpoint).toMatchObject({ conditions: { ready: true, serving: true, terminating: false } });
    expect(endpoint?.targetRef).toMatchObject({ kind: 'Pod', namespace });
    expect(['n1', 'n2']).toContain(endpoint?.nodeName);
    const legacy = await until('endpoints', () => client.find(ENDPOINTS, { namespace, name: 'web' }));
    expect(legacy.subsets?.[0]?.addresses).toHaveLength(2);
    await client.delete(SERVICES, { namespace, name: 'web' });
    await until(
      'no slices',
      async () => (await client.list(ENDPOINT_SLICES, { namespace })).items.length === 0,
    );
  }, 20_000);
});

describe('scheduler', () => {
  const namespace = 'sched';
  const place = async (name: string, spec: object): Promise<void> => {
    const metadata = { name, namespace, labels: { app: name } };
    await client.create(PODS, { metadata, spec: { ...template(name).spec!, ...spec } });
  };
  const placed = (name: string) =>
    until(`${name} placed`, async () => (await client.get(PODS, { namespace, name })).spec?.nodeName);

  beforeAll(() => createNamespace(client, namespace));

  it('honours node selectors, affinity and anti-affinity', async () => {
    await place('chosen', { nodeSelector: { 'kubernetes.io/hostname': 'n2' } });
    expect(await placed('chosen')).toBe('n2');
    const term = { labelSelector: { matchLabels: { app: 'chosen' } }, topologyKey: 'kubernetes.io/hostname' };
    await place('near', {
      affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
    });
    expect(await placed('near')).toBe('n2');
    await place('far', {
      affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
    });
    expect(await placed('far')).toBe('n1');
  });

  it('says why a pod fits nowhere, and places it when it does', async () => {
    await place('picky', { nodeSelector: { disk: 'ssd' } });
    const pod = await until('the refusal', async () => {
      const now = await client.get(PODS, { namespace, name: 'picky' });
      return now.status?.conditions?.some(({ type }) => type === 'PodScheduled') && now;
    });
    const condition = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    expect(condition).toMatchObject({ status: 'False', reason: 'Unschedulable' });
    expect(condition?.message).toMatch(
      /^0\/3 nodes are available: 3 node\(s\) didn't match Pod's node affinity/,
    );
    const events = await until('the event', async () => {
      const { items } = await client.list(EVENTS, { namespace });
      return items.find(({ reason }) => reason === 'FailedScheduling');
    });
    expect(events.involvedObject?.name).toBe('picky');
    await client.patch(NODES, { name: 'n1' }, 'merge', { metadata: { labels: { disk: 'ssd' } } });
    expect(await placed('picky')).toBe('n1');
  });

  it('keeps pods off cordoned nodes, and machines outside for host-network pods that ask', async () => {
    await client.patch(NODES, { name: 'n1' }, 'merge', { spec: { unschedulable: true } });
    await until(
      'the taint',
      async () => (await client.get(NODES, { name: 'n1' })).spec?.taints?.length === 1,
    );
    await place('elsewhere', {});
    expect(await placed('elsewhere')).toBe('n2');
    await client.patch(NODES, { name: 'n1' }, 'merge', { spec: { unschedulable: null } });
    await until(
      'no taint',
      async () => ((await client.get(NODES, { name: 'n1' })).spec?.taints ?? []).length === 0,
    );
    await place('outside', { hostNetwork: true, nodeSelector: { 'kubernetes.io/hostname': 'out1' } });
    expect(await placed('outside')).toBe('out1');
  });
});

it('complains about nothing', () => {
  expect(complaints).toEqual([]);
});
