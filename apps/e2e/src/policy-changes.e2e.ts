// SPDX-License-Identifier: Apache-2.0
// Tested: what happens to policies and connections when policies change, are wrong, or processes die.
// How: real pods with a long-lived stream, kill -9 of every process in turn.
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  apply,
  background,
  eventually,
  fetchFrom,
  inAgent,
  kubectl,
  pods,
  processesOf,
  tryKubectl,
  urlOf,
  type PodInfo,
} from './cluster.ts';

let client: PodInfo;
let server: PodInfo;

const policy = (name: string, body: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}, namespace: default}\nspec:\n  endpointSelector: {matchLabels: {app: api-client}}\n${body}`;
const ALLOW = policy(
  'probe',
  '  egress:\n    - toEndpoints: [{matchLabels: {app: api-server}}]\n      toPorts: [{ports: [{port: "80", protocol: TCP}]}]\n',
);
const DENY = policy('probe', '  egress:\n    - toEndpoints: [{matchLabels: {app: nobody}}]\n');

const reaches = async (): Promise<boolean> =>
  (await fetchFrom(client, urlOf(server.ipv4, 80), 1)) !== undefined;

const endpointsBefore = new Map<string, string>();

/** Endpoint numbers with their addresses, as text. */
async function endpointIds(node: string): Promise<string> {
  const list = JSON.parse(await inAgent(node, 'cilium', 'endpoint', 'list', '-o', 'json')) as {
    id: number;
    status: { networking: { addressing: { ipv4?: string }[] } };
  }[];
  return list
    .map(({ id, status }) => `${id}=${status.networking.addressing[0]?.ipv4}`)
    .sort()
    .join(' ');
}

async function relayKnowsBothNodes(): Promise<boolean> {
  const path = ['-n', 'kube-system', 'hubble-relay', '-o', 'jsonpath={.spec.clusterIP}'];
  const relay = (await kubectl('get', 'svc', ...path)).trim();
  const text = await inAgent('node1', 'hubble', 'list', 'nodes', '--server', `${relay}:80`);
  return /node1 +Connected/.test(text) && /node2 +Connected/.test(text);
}

beforeAll(async () => {
  for (const node of ['node1', 'node2']) endpointsBefore.set(node, await endpointIds(node));
  [client] = (await pods('default', 'app=api-client')) as [PodInfo];
  [server] = (await pods('default', 'app=api-server')) as [PodInfo];
});

afterEach(async () => {
  await tryKubectl('delete', 'cnp', '-n', 'default', '--all');
  await eventually('the open network', reaches);
});

async function validCondition(name: string): Promise<{ status?: string; message?: string } | undefined> {
  const object = JSON.parse(await kubectl('get', 'cnp', '-n', 'default', name, '-o', 'json')) as {
    status?: { conditions?: { type: string; status: string; message?: string }[] };
  };
  return object.status?.conditions?.find(({ type }) => type === 'Valid');
}

describe('policy changes', () => {
  test('an open connection is cut at its next packet when a policy stops allowing it, with a drop flow', async () => {
    await apply(ALLOW);
    const args = [
      'exec',
      '-n',
      'default',
      client.name,
      '--',
      'curl',
      '-sN',
      '--max-time',
      '60',
      `${urlOf(server.ipv4, 80)}stream`,
    ];
    const stream = background('kubectl', args);
    try {
      await eventually('the stream', () => Promise.resolve(stream.output().includes('line')));
      await apply(DENY);
      await eventually('the policy', async () => !(await reaches()));
      const before = stream.output().length;
      await new Promise((resolve) => setTimeout(resolve, 1000));
      expect(stream.output().length).toBe(before);
      const flows = await inAgent(
        client.node,
        'hubble',
        'observe',
        '--verdict',
        'DROPPED',
        '--from-pod',
        `default/${client.name}`,
        '--last',
        '20',
      );
      expect(flows).toContain('default/probe');
    } finally {
      stream.kill();
    }
  });

  test('status carries the revision that every node acknowledged', async () => {
    await apply(ALLOW);
    const text = await eventually('acknowledgements', async () => {
      const json = await kubectl('get', 'cnp', '-n', 'default', 'probe', '-o', 'json');
      return /2\/2/.test(json) && json;
    });
    expect(text).toContain('"Valid"');
  });

  test('an invalid change says where it is wrong, and what was enforced stays enforced', async () => {
    await apply(DENY);
    await eventually('the policy', async () => !(await reaches()));
    const wrong = policy('probe', '  egress:\n    - toCIDR: ["10.0.0.0/99"]\n');
    const refused = await apply(wrong).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (refused === undefined) {
      const condition = await eventually('Valid=False', async () => {
        const found = await validCondition('probe');
        return found?.status === 'False' ? found : undefined;
      });
      expect(condition.message).toMatch(/egress\[0\]\.toCIDR\[0\]/);
    } else {
      expect(refused).toMatch(/toCIDR/);
    }
    expect(await reaches()).toBe(false);
  });

  test('what is not enforced yet is dropped, never allowed, and the status says so', async () => {
    await apply(
      policy(
        'probe',
        '  egress:\n    - toEndpoints: [{matchLabels: {app: api-server}}]\n      toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]\n',
      ),
    );
    await eventually('the drop', async () => !(await reaches()));
    const json = await eventually('the status', async () => {
      const text = await kubectl('get', 'cnp', '-n', 'default', 'probe', '-o', 'json');
      return /not enforced/i.test(text) && text;
    });
    expect(json).toMatch(/toPorts\[0\]/);
  });
});

describe('kill -9', () => {
  test.each([
    ['the agents', 'agent.cjs'],
    ['the policy compiler', 'policy-compiler.cjs'],
    ['the operator', 'operator.cjs'],
    ['NATS', 'nats-server'],
    ['the relay', 'hubble-relay.cjs'],
  ])(
    'of %s: open connections and enforcement go on, and policies propagate again',
    async (_name, command) => {
      const args = [
        'exec',
        '-n',
        'default',
        client.name,
        '--',
        'curl',
        '-sN',
        '--max-time',
        '90',
        `${urlOf(server.ipv4, 80)}stream`,
      ];
      const stream = background('kubectl', args);
      try {
        await eventually('the stream', () => Promise.resolve(stream.output().includes('line')));
        const victims = processesOf(command);
        expect(victims.length).toBeGreaterThan(0);
        for (const pid of victims) process.kill(pid, 'SIGKILL');
        const before = stream.output().length;
        await eventually('lines after the kill', () => Promise.resolve(stream.output().length > before));
        expect(await reaches()).toBe(true);
        await eventually('the process again', () => Promise.resolve(processesOf(command).length > 0), 60_000);
        await apply(DENY);
        await eventually('the new policy', async () => !(await reaches()), 60_000);
      } finally {
        stream.kill();
      }
    },
    180_000,
  );

  test('under an all-namespace deny with processes killed, policies propagate and the relay answers', async () => {
    await apply(
      'apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: deny-all}\nspec:\n  endpointSelector: {}\n  ingress:\n    - fromEndpoints: [{matchLabels: {app: nobody}}]\n',
    );
    try {
      // The seed's policy allows what it allows: union. Without it nothing but the system pods may be reached.
      await kubectl('delete', 'ccnp', 'deny-cross-namespace');
      await eventually('the deny', async () => !(await reaches()));
      for (const command of [
        'policy-compiler.cjs',
        'operator.cjs',
        'nats-server',
        'hubble-relay.cjs',
        'agent.cjs',
      ]) {
        for (const pid of processesOf(command)) process.kill(pid, 'SIGKILL');
      }
      const names = ['exec', '-n', 'default', client.name, '--', 'curl', '-sk', '--max-time', '3'];
      await eventually('names and the API server', async () => {
        const { stdout } = await tryKubectl(...names, 'https://kubernetes.default/healthz');
        return stdout === 'ok';
      });
      await eventually('both nodes at the relay', relayKnowsBothNodes, 60_000);
    } finally {
      await kubectl('apply', '-f', 'deploy/demo/policies/deny-cross-namespace.yaml');
      await kubectl('delete', 'ccnp', 'deny-all');
    }
    await eventually('the allow again', reaches, 60_000);
  }, 180_000);

  test('afterwards the endpoints are those of before and the relay knows both nodes', async () => {
    for (const [node, ids] of endpointsBefore) expect(await endpointIds(node)).toEqual(ids);
    await eventually('both nodes', relayKnowsBothNodes, 60_000);
  });
});
