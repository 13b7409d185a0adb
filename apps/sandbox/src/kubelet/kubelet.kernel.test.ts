// SPDX-License-Identifier: Apache-2.0
// A kubelet with real namespaces, a CNI plugin of a few lines of shell and a small API server in memory: pods come up,
// are probed, restarted, updated and deleted as users expect, and all they made goes with them.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { KubeClient, PODS, waitFor, type ContainerStatus, type Pod } from '@cilium-ts/kube';
import { silentLogger } from '@cilium-ts/base';
import { uniqueName } from '@cilium-ts/native/testing';
import { removeSandbox } from '../cluster/cleanup.ts';
import { artifactsOf, privateLayout } from '../cluster/layout.ts';
import { buildNetwork } from '../cluster/network.ts';
import { createNode, type SandboxNode } from '../cluster/node.ts';
import { planCluster } from '../cluster/plan.ts';
import { cgroupMount } from '../cluster/preflight.ts';
import { Runtime } from '../runtime/runtime.ts';
import { execCollect } from './container-checks.ts';
import { Kubelet } from './kubelet.ts';
import { MemoryApi } from './memory-api.ts';
import { ObjectCache } from './object-cache.ts';

const layout = privateLayout(uniqueName('k'));
const runtime = new Runtime(artifactsOf(process.cwd()).runtime);
const api = new MemoryApi();
let client: KubeClient;
let cache: ObjectCache;
let kubelet: Kubelet;
let node: SandboxNode;

const PLUGIN = `#!/bin/sh
# A veth to the node; the address is the first free file in a folder.
cat > "/run/cni-$CNI_COMMAND-$(echo "$CNI_ARGS" | sed 's/.*K8S_POD_NAME=\\([^;]*\\).*/\\1/').json"
ns=$(basename "$CNI_NETNS"); h=h$(echo "$CNI_CONTAINERID" | cut -c1-8)
case $CNI_COMMAND in
ADD) set -e
  i=10; while ! mkdir "/run/ip-$i" 2>/dev/null; do i=$((i+1)); done; echo "$i" > "/run/$CNI_CONTAINERID"
  ip link add "$h" type veth peer name eth0 netns "$ns"; ip link set "$h" up
  ip -n "$ns" addr add "10.244.1.$i/32" dev eth0; ip -n "$ns" link set eth0 up
  ip -n "$ns" route add 192.168.77.1 dev eth0; ip route add "10.244.1.$i/32" dev "$h" src 192.168.77.1
  echo "{\\"cniVersion\\":\\"1.0.0\\",\\"ips\\":[{\\"address\\":\\"10.244.1.$i/32\\"}]}";;
DEL) ip link del "$h" 2>/dev/null; rmdir "/run/ip-$(cat "/run/$CNI_CONTAINERID")" 2>/dev/null; exit 0;;
esac
`;

beforeAll(async () => {
  mkdirSync(layout.stateDir, { recursive: true });
  client = new KubeClient(await api.start());
  const plan = planCluster(1, 0);
  await buildNetwork(runtime, layout, plan);
  const cgroup = `${await cgroupMount(layout)}/${layout.cgroupName}`;
  node = await createNode(runtime, layout, cgroup, plan.nodes[0]!);
  writeFileSync(`${node.folders.cniBin}/tiny`, PLUGIN);
  chmodSync(`${node.folders.cniBin}/tiny`, 0o755);
  cache = new ObjectCache(client, silentLogger);
  await cache.start();
  const settings = {
    clusterDns: '10.96.0.10',
    apiService: { host: '10.96.0.1', port: '443' },
    images: '/none',
    allowedHostPaths: [],
    hidden: ['/var/lib/cilium-ts'],
    netnsPrefix: layout.prefix,
    machineResolver: '',
    nodes: [],
  };
  kubelet = new Kubelet({ client, runtime, node, cache, settings, log: silentLogger });
  await kubelet.start();
});

afterAll(async () => {
  await kubelet.stop();
  await cache.stop();
  client.close();
  await api.stop();
  await removeSandbox(layout);
});

const pod = (name: string): Promise<Pod | undefined> => client.find(PODS, { namespace: 'default', name });

async function create(name: string, spec: object): Promise<void> {
  const body = { metadata: { name }, spec: { nodeName: 'node1', terminationGracePeriodSeconds: 1, ...spec } };
  await client.raw('POST', '/api/v1/namespaces/default/pods', body);
}

function isReady(seen: Pod | undefined): boolean {
  return (seen?.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');
}

async function ready(name: string): Promise<Pod> {
  return waitFor(`${name} ready`, async () => {
    const seen = await pod(name);
    return isReady(seen) && seen;
  }) as Promise<Pod>;
}

async function inside(name: string, script: string): Promise<string> {
  const container = kubelet.find('default', name)!.defaultContainer!;
  return (await execCollect(container, ['sh', '-c', script], 5000)).output;
}

async function remove(name: string): Promise<void> {
  await client.delete(PODS, { namespace: 'default', name }, { gracePeriodSeconds: 1 });
  await waitFor(`${name} gone`, async () => (await pod(name)) === undefined);
}

const container = (command: string, more: object = {}): object => ({
  containers: [{ name: 'main', image: 'any', command: ['sh', '-c', command], ...more }],
});
const status = (seen: Pod | undefined): ContainerStatus | undefined => seen?.status?.containerStatuses?.[0];
const reasons = (): string[] => api.list('events').map((event) => String(event['reason']));

describe('a node', () => {
  it('is ready once its network is configured; pods of the host network do not wait for that', async () => {
    await create('early', { hostNetwork: true, ...container('sleep 1000') });
    await create('waiting', container('sleep 1000'));
    const early = await ready('early');
    expect(early.status?.podIPs).toEqual([{ ip: '192.168.77.1' }, { ip: 'fd77::1' }]);
    await waitFor('the event', () => reasons().includes('NetworkNotReady'));
    const conditions = (): unknown[] =>
      (api.list('nodes')[0]?.['status'] as { conditions: { status: string }[] }).conditions;
    expect(conditions().at(-1)).toMatchObject({ type: 'Ready', status: 'False' });
    const network = { cniVersion: '1.0.0', name: 'test', plugins: [{ type: 'tiny', colour: 'red' }] };
    writeFileSync(`${node.folders.cniConf}/10-test.conflist`, JSON.stringify(network));
    const late = await ready('waiting');
    expect(late.status?.podIP).toBe('10.244.1.10');
    await waitFor('the node', () => (conditions().at(-1) as { status: string }).status === 'True');
    const given = JSON.parse(readFileSync(`${node.folders.run}/cni-ADD-waiting.json`, 'utf8')) as object;
    expect(given).toEqual({ type: 'tiny', colour: 'red', cniVersion: '1.0.0', name: 'test' });
    await remove('early');
    await remove('waiting');
    expect(existsSync(`${node.folders.run}/cni-DEL-waiting.json`)).toBe(true);
  });
});

describe('a pod', () => {
  it('runs init containers first, gets its volumes and environment, and is ready when its probe says so', async () => {
    await client.raw('POST', '/api/v1/namespaces/default/configmaps', {
      metadata: { name: 'cm' },
      data: { key: 'one' },
    });
    await create('full', {
      initContainers: [{ name: 'first', image: 'any', command: ['sh', '-c', 'echo made > /e/f'], volumeMounts: [{ name: 'e', mountPath: '/e' }] }],
      ...container('until [ -e /tmp/open ]; do sleep 0.01; done; sleep 1000', {
        env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
        readinessProbe: { exec: { command: ['test', '-e', '/tmp/ready'] }, periodSeconds: 1 },
        volumeMounts: [{ name: 'e', mountPath: '/e' }, { name: 'c', mountPath: '/c' }],
      }),
      volumes: [{ name: 'e', emptyDir: {} }, { name: 'c', configMap: { name: 'cm' } }],
    }); // prettier-ignore
    await waitFor('the container', async () => status(await pod('full'))?.state?.running);
    expect(isReady(await pod('full'))).toBe(false);
    await inside('full', 'touch /tmp/ready');
    const { status: seen } = await ready('full');
    const text = await inside(
      'full',
      'cat /e/f /c/key; echo; echo $IP; cat /var/run/secrets/kubernetes.io/serviceaccount/*; cat /etc/resolv.conf /etc/hosts',
    );
    for (const part of [
      'made\n',
      'one\n',
      `\n${seen?.podIP}\n`,
      'token-of-full',
      'nameserver 10.96.0.10',
      `${seen?.podIP}\tfull`,
    ]) {
      expect(text).toContain(part);
    }
    await client.raw('PATCH', '/api/v1/namespaces/default/configmaps/cm', { data: { key: 'two' } });
    await waitFor('the new value', async () => (await inside('full', 'cat /c/key')) === 'two');
    await remove('full');
  });

  it('is probed over the network from the node, by port name', async () => {
    const serve = `perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(Listen=>5,LocalPort=>8080) or die;while($c=$s->accept){sysread $c,$b,4096;print $c "HTTP/1.0 200 OK\\r\\n\\r\\nhi";close $c}'`;
    const probe = { httpGet: { path: '/', port: 'web' }, periodSeconds: 1 };
    await create(
      'web',
      container(serve, {
        ports: [{ name: 'web', containerPort: 8080 }],
        readinessProbe: probe,
        livenessProbe: { tcpSocket: { port: 8080 } },
      }),
    );
    expect(status(await ready('web'))).toMatchObject({ ready: true, restartCount: 0 });
    await remove('web');
  });

  it('is restarted when it crashes or its liveness probe fails, and shows the last end', async () => {
    await create('crash', container('echo last words > /dev/termination-log; exit 3'));
    const crashed = await waitFor('a restart', async () => {
      const one = status(await pod('crash'));
      return one?.state?.waiting?.reason === 'CrashLoopBackOff' && one;
    });
    expect(crashed).toMatchObject({ lastState: { terminated: { exitCode: 3, message: 'last words\n' } } });
    await create(
      'sick',
      container('trap "" TERM; sleep 1000', {
        livenessProbe: { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 1 },
      }),
    );
    await waitFor('the liveness restart', async () => (status(await pod('sick'))?.restartCount ?? 0) > 0);
    expect(reasons()).toEqual(expect.arrayContaining(['BackOff', 'Unhealthy', 'Killing']));
    await Promise.all([remove('crash'), remove('sick')]);
  });

  it('without a command is refused with a clear event', async () => {
    await create('empty', { containers: [{ name: 'main', image: 'nginx' }] });
    const waiting = await waitFor(
      'the refusal',
      async () => status(await pod('empty'))?.state?.waiting?.message,
    );
    expect(waiting).toContain('container main has no command');
    await remove('empty');
  });

  it('with restartPolicy Never ends as Succeeded or Failed, and its log can still be read', async () => {
    await create('good', { restartPolicy: 'Never', ...container('echo done') });
    await create('bad', { restartPolicy: 'Never', ...container('exit 5') });
    await waitFor('Succeeded', async () => (await pod('good'))?.status?.phase === 'Succeeded');
    await waitFor('Failed', async () => (await pod('bad'))?.status?.phase === 'Failed');
    const log = await new Promise<string>((resolve) => {
      http.get(
        { socketPath: `${node.dir}/kubelet.sock`, path: '/containerLogs/default/good/main?tailLines=1' },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString())).on('end', () => resolve(text));
        },
      );
    });
    expect(log).toBe('done\n');
    await Promise.all([remove('good'), remove('bad')]);
  });

  it('gets its preStop hook and the grace period, then is killed', async () => {
    const lifecycle = { preStop: { exec: { command: ['sh', '-c', 'echo stopping > /e/mark'] } } };
    await create('slow', {
      ...container('trap "" TERM; while :; do sleep 1000; done', {
        lifecycle,
        volumeMounts: [{ name: 'e', mountPath: '/e' }],
      }),
      volumes: [{ name: 'e', hostPath: { path: '/var/lib/cilium/slow', type: 'DirectoryOrCreate' } }],
    });
    await ready('slow');
    await remove('slow');
    const { stdout } = await runtime.nodeExec(node, ['cat', '/var/lib/cilium/slow/mark']);
    expect(stdout).toBe('stopping\n');
  });

  it('leaves no network namespace, cgroup or folder of a deleted pod', async () => {
    await create('brief', container('sleep 1000'));
    const { metadata } = await ready('brief');
    await remove('brief');
    const uid = metadata.uid ?? '';
    await waitFor('the folder gone', () => !existsSync(`${node.dir}/pods/${uid}`));
    expect(existsSync(`${node.cgroup}/pods/${uid}`)).toBe(false);
    expect(readdirSync('/run/netns')).not.toContain(`${layout.prefix}${uid.slice(0, 8)}`);
  });
});
