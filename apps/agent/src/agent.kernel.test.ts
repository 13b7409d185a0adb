// SPDX-License-Identifier: Apache-2.0
// The whole agent as a process in a node's namespace: pods through the compiled CNI binary, policy, restarts, fallbacks.
// The API server is a small one in memory; policy is compiled in the agent (bus=embedded). Needs root, BPF objects, add-on.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { EndpointModel, StatusModel } from '@cilium-ts/agent-api';
import { echoOnce, TestNode, until } from './test-node.ts';

jest.setTimeout(60_000);

interface CniResult {
  readonly ips: readonly { readonly address: string }[];
}

let node: TestNode;
const addresses = new Map<string, string[]>();

async function addPod(name: string, identity: number): Promise<void> {
  node.pod(name, identity);
  await node.addNamespace(name);
  const { code, stdout } = await node.cni('ADD', name);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  const result = JSON.parse(stdout) as CniResult;
  addresses.set(
    name,
    result.ips.map((ip) => ip.address.replace(/\/\d+$/, '')),
  );
}

async function endpointOf(pod: string): Promise<EndpointModel> {
  const all = await node.get<EndpointModel[]>('/endpoint');
  return all.find((one) => one.status['external-identifiers']['k8s-pod-name'] === pod)!;
}

const policy = {
  metadata: { name: 'only-b', namespace: 'test' },
  spec: {
    endpointSelector: { matchLabels: { app: 'a' } },
    egress: [
      {
        toEndpoints: [{ matchLabels: { app: 'b' } }],
        toPorts: [{ ports: [{ port: '8080', protocol: 'TCP' }] }],
      },
    ],
  },
};

beforeAll(async () => {
  node = new TestNode('a');
  await node.prepare();
  await node.start();
  await addPod('a', 1001);
  await addPod('b', 1002);
  for (const address of addresses.get('b')!) await node.echo('b', address, 8080);
  await node.echo('out', '192.168.79.200', 9000);
});

afterAll(() => node.cleanUp());

describe('a node', () => {
  test('gives a pod two addresses, and its connections go everywhere without policy', async () => {
    expect(addresses.get('a')).toHaveLength(2);
    for (const address of addresses.get('b')!) {
      expect(await node.reaches('a', address, 8080)).toBe(true);
      expect(await node.reaches('node', address, 8080)).toBe(true);
    }
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(true);
  });

  test('passes CHECK and publishes a CiliumEndpoint', async () => {
    expect((await node.cni('CHECK', 'a')).code).toBe(0);
    const published = await until('the CiliumEndpoint', () =>
      node.api
        .list('ciliumendpoints')
        .find((object) => object.metadata.name === 'a' && object['status'] !== undefined),
    );
    expect(published['status']).toMatchObject({ identity: { id: 1001 }, state: 'ready' });
  });

  test('enforces a policy on both families and names its origin', async () => {
    node.api.put('ciliumnetworkpolicies', policy);
    const endpoint = await until('the policy is realised', async () => {
      const found = await endpointOf('a');
      return found.status.policy.realized['policy-enabled'] === 'egress' && found;
    });
    expect(endpoint.status.policy.realized.l4.egress[0]!.origins[0]).toContain(
      'CNP test/only-b egress[0].toPorts[0]',
    );
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(false);
    for (const address of addresses.get('b')!) expect(await node.reaches('a', address, 8080)).toBe(true);
  });

  test('keeps connections and policy while the agent is dead, and after it came back', async () => {
    const socket = (await node.connect('a', addresses.get('b')![0]!, 8080))!;
    const before = await endpointOf('a');
    await node.kill('SIGKILL');
    expect(await echoOnce(socket, 'dead')).toBe('dead');
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(false);
    await node.start();
    expect(await echoOnce(socket, 'back')).toBe('back');
    const after = await endpointOf('a');
    expect(after.id).toBe(before.id);
    expect(after.status.networking).toEqual(before.status.networking);
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(false);
    socket.destroy();
  });

  test('replays a deletion that came while it was dead', async () => {
    await addPod('c', 1003);
    await node.kill('SIGTERM');
    expect((await node.cni('DEL', 'c', { CNI_NETNS: '' })).code).toBe(0);
    await node.start();
    expect(await endpointOf('c')).toBeUndefined();
    const links = readdirSync(join(node.directory, 'bpf/cilium/links')).filter((name) =>
      name.startsWith('lxc'),
    );
    expect(links).toHaveLength(4);
  });

  test('takes each fallback when told to, and names it', async () => {
    await node.kill('SIGTERM');
    await node.start(['--datapath-attach-mode=clsact', '--bpf-lb-acceleration=generic']);
    const status = await node.get<StatusModel>('/healthz');
    expect(status['attach-mode']).toBe('Legacy TC');
    expect(status['kube-proxy-replacement']['xdp-acceleration']).toBe('Generic');
    expect(status.fallbacks.join()).toMatch(/kernel \S+ has no tcx .*; taken instead: clsact/);
    expect(await node.reaches('a', addresses.get('b')![0]!, 8080)).toBe(true);
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(false);
    await node.kill('SIGTERM');
    await node.start();
    expect((await node.get<StatusModel>('/healthz'))['attach-mode']).toBe('TCX');
    expect(await node.reaches('a', '192.168.79.200', 9000)).toBe(false);
  });

  test('judges open connections anew when the policy goes', async () => {
    const socket = (await node.connect('a', addresses.get('b')![0]!, 8080))!;
    expect(await echoOnce(socket, 'before')).toBe('before');
    node.api.put('ciliumnetworkpolicies', { ...policy, spec: { ...policy.spec, egress: [{}] } });
    await until('egress to b is denied', async () => {
      const { status } = await endpointOf('a');
      return status.policy.realized['allowed-egress-identities'].length === 0;
    });
    await expect(echoOnce(socket, 'after')).rejects.toThrow('no echo in time');
    socket.destroy();
  });

  test('DEL takes everything away and is repeatable', async () => {
    for (let i = 0; i < 2; i++) expect((await node.cni('DEL', 'b')).code).toBe(0);
    expect(await endpointOf('b')).toBeUndefined();
    const links = await node.netlink.links(`/run/netns/${node.name}-node`);
    expect(links.filter((link) => link.name.startsWith('lxc'))).toHaveLength(1);
  });
});

test('a bad value refuses to start by name', () => {
  const run = spawnSync(process.execPath, [join(node.directory, 'agent.cjs'), '--enable-ipv4=maybe'], {
    encoding: 'utf8',
  });
  expect(run.status).toBe(1);
  expect(run.stderr).toContain('configuration key enable-ipv4 has value "maybe"; allowed: true, false');
});
