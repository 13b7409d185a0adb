// SPDX-License-Identifier: Apache-2.0
// Tested: the seed's two policies on a two-node cluster, what they drop, and how the drop is explained.
// How: real pods, real curl, hubble and cilium in the agent.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, fetchFrom, inAgent, kubectl, pods, tryKubectl, urlOf, type PodInfo } from './cluster.ts';

let frontend: PodInfo;
let backends: PodInfo[];
let apiServer: PodInfo;
let apiClient: PodInfo;

beforeAll(async () => {
  [frontend] = (await pods('production', 'app=frontend')) as [PodInfo];
  backends = await pods('production', 'app=backend');
  [apiServer] = (await pods('default', 'app=api-server')) as [PodInfo];
  [apiClient] = (await pods('default', 'app=api-client')) as [PodInfo];
});

interface FlowLine {
  readonly flow: {
    readonly verdict: string;
    readonly drop_reason_desc?: string;
    readonly egress_denied_by?: { kind?: string; namespace?: string; name?: string; labels?: string[] }[];
    readonly ingress_denied_by?: { kind?: string; namespace?: string; name?: string; labels?: string[] }[];
  };
}

async function droppedFlows(node: string, ...filters: string[]): Promise<FlowLine[]> {
  const text = await inAgent(
    node,
    'hubble',
    'observe',
    '--verdict',
    'DROPPED',
    '--last',
    '50',
    '-o',
    'json',
    ...filters,
  );
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as FlowLine);
}

describe('allow-frontend-to-backend', () => {
  test('backends stand on both nodes, so that both paths are tried', () => {
    expect(new Set(backends.map(({ node }) => node)).size).toBe(2);
  });

  test('frontend reaches every backend by pod address, IPv4 and IPv6, on its node and on the other', async () => {
    for (const backend of backends) {
      for (const address of [backend.ipv4, backend.ipv6]) {
        expect(await fetchFrom(frontend, urlOf(address, 8080))).toContain(backend.name);
      }
    }
  });

  test('frontend reaches the Service by its ClusterIP, IPv4 and IPv6', async () => {
    const ips = (
      await kubectl('get', 'svc', '-n', 'production', 'backend', '-o', 'jsonpath={.spec.clusterIPs[*]}')
    ).split(' ');
    expect(ips).toHaveLength(2);
    for (const ip of ips) expect(await fetchFrom(frontend, urlOf(ip, 8080))).toContain('hello from backend');
  });

  test('frontend reaches nothing else: another port, another namespace, the world', async () => {
    const outside = '192.168.77.201';
    const others = [
      urlOf(backends[0]!.ipv4, 9090),
      urlOf(apiServer.ipv4, 80),
      urlOf(apiServer.ipv6, 80),
      urlOf(outside, 80),
    ];
    const answers = await Promise.all(others.map((url) => fetchFrom(frontend, url, 1)));
    expect(answers).toEqual([undefined, undefined, undefined, undefined]);
  });

  test('a drop names the policy that isolates, its path and line, in hubble observe', async () => {
    await fetchFrom(frontend, urlOf(apiServer.ipv4, 80), 1);
    const flow = await eventually('the drop', async () => {
      const flows = await droppedFlows(
        frontend.node,
        '--from-pod',
        `production/${frontend.name}`,
        '--port',
        '80',
      );
      return flows.find(({ flow }) => (flow.egress_denied_by ?? []).length > 0);
    });
    const [policy] = flow.flow.egress_denied_by!;
    expect(policy).toMatchObject({
      kind: 'CiliumNetworkPolicy',
      namespace: 'production',
      name: 'allow-frontend-to-backend',
    });
    expect(policy!.labels!.join(' ')).toMatch(/path=egress/);
    expect(policy!.labels!.join(' ')).toMatch(/line=\d+/);
    const compact = await inAgent(frontend.node, 'hubble', 'observe', '--verdict', 'DROPPED', '--last', '20');
    expect(compact).toMatch(/Policy denied DROPPED .*production\/allow-frontend-to-backend.*line \d+/);
  });

  test('names do not resolve until allow-dns is applied, then backend:8080 works by name', async () => {
    expect(await fetchFrom(frontend, 'http://backend:8080/', 1)).toBeUndefined();
    await kubectl('apply', '-f', 'deploy/demo/allow-dns.yaml');
    try {
      await eventually('backend by name', () => fetchFrom(frontend, 'http://backend:8080/'));
    } finally {
      await kubectl('delete', '-f', 'deploy/demo/allow-dns.yaml');
    }
  });
});

describe('deny-cross-namespace', () => {
  test('pods of the cluster reach each other, also across namespaces: the selector names every namespace', async () => {
    expect(await fetchFrom(apiClient, urlOf(apiServer.ipv4, 80))).toContain('api-server');
    expect(await fetchFrom(apiClient, urlOf(backends[0]!.ipv4, 8080))).toContain('backend');
  });

  test('a host outside the cluster reaches no pod', async () => {
    await kubectl(
      'run',
      'stranger',
      '--image=cilium-ts/demo:0.1.0',
      '--restart=Never',
      '--overrides',
      JSON.stringify({ spec: { nodeName: 'outside1', hostNetwork: true, terminationGracePeriodSeconds: 0 } }),
      '--command',
      '--',
      'sleep',
      '300',
    );
    try {
      await kubectl('wait', 'pod/stranger', '--for=condition=Ready', '--timeout=20s');
      const stranger = { namespace: 'default', name: 'stranger', node: 'outside1', ipv4: '', ipv6: '' };
      const node = apiServer.node.replace('node', '');
      await kubectl(
        'exec',
        'stranger',
        '--',
        'ip',
        'route',
        'replace',
        `10.244.${node}.0/24`,
        'via',
        `192.168.77.${node}`,
      );
      expect(await fetchFrom(stranger, urlOf(apiServer.ipv4, 80), 1)).toBeUndefined();
      const flows = await eventually('the drop', async () => {
        const found = await droppedFlows(apiServer.node, '--to-pod', `default/${apiServer.name}`);
        return found.length > 0 && found;
      });
      expect(JSON.stringify(flows)).toContain('deny-cross-namespace');
    } finally {
      await tryKubectl('delete', 'pod', 'stranger', '--now');
    }
  });
});
