// SPDX-License-Identifier: Apache-2.0
// Tested: the commands a user types at the cluster, as the seed types them. How: real kubectl, as text.
import { describe, expect, test } from '@jest/globals';
import { apply, eventually, inAgent, kubectl, pods, run, tryKubectl, type PodInfo } from './cluster.ts';

const inCilium = (...command: string[]): Promise<string> =>
  kubectl('exec', '-n', 'kube-system', 'ds/cilium', '--', ...command);

describe('cilium in the agent', () => {
  test('endpoint list shows pods with identity, labels, addresses and enforcement', async () => {
    const [frontend] = (await pods('production', 'app=frontend')) as [PodInfo];
    const text = await inAgent(frontend.node, 'cilium', 'endpoint', 'list');
    expect(text).toMatch(/^ENDPOINT +POLICY \(ingress\) +POLICY \(egress\) +IDENTITY/);
    const row = text.split('\n').find((line) => line.includes(frontend.ipv4))!;
    expect(row).toMatch(/Enabled +Enabled .*ready/);
    expect(await inCilium('cilium', 'endpoint', 'list')).toContain('ENDPOINT');
  });

  test('endpoint get -o json | jq .policy names what is enforced', async () => {
    const [frontend] = (await pods('production', 'app=frontend')) as [PodInfo];
    const list = JSON.parse(await inAgent(frontend.node, 'cilium', 'endpoint', 'list', '-o', 'json')) as {
      id: number;
      status: { networking: { addressing: { ipv4?: string }[] } };
    }[];
    const endpoint = list.find(({ status }) => status.networking.addressing[0]?.ipv4 === frontend.ipv4)!;
    const json = await inAgent(frontend.node, 'cilium', 'endpoint', 'get', String(endpoint.id), '-o', 'json');
    const policy = await run('jq', ['.policy'], json);
    expect(policy.code).toBe(0);
    expect(policy.stdout).toContain('allow-frontend-to-backend');
  });

  test.each([
    ['status', /Cilium: +Ok/],
    ['status --verbose', /BPF Maps/],
    ['identity list', /k8s:app=frontend/],
    ['service list', /ClusterIP/],
    ['policy get', /Revision: \d+/],
    ['bpf lb list', /SERVICE ADDRESS/],
    ['bpf ct list global', /TCP/],
    ['bpf ipcache list', /IP PREFIX\/ADDRESS/],
    ['bpf metrics list', /REASON +DIRECTION/],
    ['map list', /cilium_lxc/],
    ['version', /\d+\.\d+\.\d+/],
  ])('cilium %s', async (command, expected) => {
    expect(await inCilium('cilium', ...command.split(' '))).toMatch(expected);
  });

  test('hubble status and list nodes see both nodes', async () => {
    expect(await inCilium('hubble', 'status')).toMatch(/Healthcheck .*Ok/);
    await eventually('both nodes', async () => {
      const relay = (
        await kubectl('get', 'svc', '-n', 'kube-system', 'hubble-relay', '-o', 'jsonpath={.spec.clusterIP}')
      ).trim();
      const text = await inCilium('hubble', 'list', 'nodes', '--server', `${relay}:80`);
      return /node1 +Connected/.test(text) && /node2 +Connected/.test(text);
    });
  });
});

describe('kubectl', () => {
  test('cnp,ccnp are listed with VALID', async () => {
    const text = await kubectl('get', 'cnp,ccnp', '-A');
    expect(text).toMatch(/ciliumnetworkpolicy.cilium.io\/allow-frontend-to-backend +\S+ +True/);
    expect(text).toMatch(/ciliumclusterwidenetworkpolicy.cilium.io\/deny-cross-namespace +\S+ +True/);
  });

  test('a pod answers https://kubernetes.default/healthz', async () => {
    const [client] = (await pods('default', 'app=api-client')) as [PodInfo];
    const text = await kubectl(
      'exec',
      client.name,
      '--',
      'curl',
      '-sk',
      '--max-time',
      '5',
      'https://kubernetes.default/healthz',
    );
    expect(text).toBe('ok');
  });

  test('exec takes 8 KB of arguments, four at once, and passes exit codes', async () => {
    const [client] = (await pods('default', 'app=api-client')) as [PodInfo];
    const long = 'x'.repeat(9000);
    const answers = await Promise.all(
      [1, 2, 3, 4].map(() => kubectl('exec', client.name, '--', 'echo', long)),
    );
    for (const answer of answers) expect(answer.trim()).toBe(long);
    expect((await tryKubectl('exec', client.name, '--', 'sh', '-c', 'exit 7')).code).toBe(7);
  });

  test('a Deployment rolls, scales and goes', async () => {
    await kubectl(
      'create',
      'deployment',
      'rolling',
      '--image=cilium-ts/demo:0.1.0',
      '--replicas=2',
      '--',
      'demo-server',
      '8080',
    );
    try {
      await kubectl('rollout', 'status', 'deployment/rolling', '--timeout=30s');
      await kubectl('rollout', 'restart', 'deployment/rolling');
      await kubectl('rollout', 'status', 'deployment/rolling', '--timeout=30s');
      await kubectl('scale', 'deployment/rolling', '--replicas=3');
      await kubectl(
        'wait',
        'deployment/rolling',
        '--for=jsonpath={.status.readyReplicas}=3',
        '--timeout=30s',
      );
    } finally {
      await kubectl('delete', 'deployment', 'rolling');
    }
  });

  test('CiliumCIDRGroup is accepted in both versions', async () => {
    for (const version of ['v2', 'v2alpha1']) {
      const yaml = `apiVersion: cilium.io/${version}\nkind: CiliumCIDRGroup\nmetadata: {name: g-${version}}\nspec: {externalCIDRs: [192.0.2.0/24]}\n`;
      await apply(yaml);
      await kubectl('delete', 'ciliumcidrgroup', `g-${version}`);
    }
  });
});
