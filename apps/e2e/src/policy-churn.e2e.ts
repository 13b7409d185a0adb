// SPDX-License-Identifier: Apache-2.0
// Tested: pods with identities that nobody has seen, while the compiler, NATS or both are dead: what a deny by label means
// stays shut from the first packet, what is open opens, and everything converges.
// How: clients that may reach everything but a tier of pods; new pods of that tier, tried from the moment they have an address.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  apply,
  eventually,
  fetchFrom,
  kubectl,
  pods,
  processesOf,
  tryKubectl,
  urlOf,
  type PodInfo,
} from './cluster.ts';

const NAMESPACE = 'churn';
const ROUNDS: readonly { readonly dead: string; readonly commands: readonly string[] }[] = [
  { dead: 'the compiler', commands: ['policy-compiler.cjs'] },
  { dead: 'NATS', commands: ['nats-server'] },
  { dead: 'both', commands: ['policy-compiler.cjs', 'nats-server'] },
];

function podYaml(name: string, labels: string, node: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${NAMESPACE}, labels: {${labels}}}
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 1
  containers:
    - {name: server, image: 'cilium-ts/demo:0.1.0', command: [demo-server], args: ['80']}
`;
}

const POLICY = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: not-the-guarded, namespace: ${NAMESPACE}}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress: [{toEntities: [all]}]
  egressDeny: [{toEndpoints: [{matchLabels: {tier: guarded}}]}]
`;

let clients: PodInfo[] = [];

beforeAll(async () => {
  await apply(`apiVersion: v1\nkind: Namespace\nmetadata: {name: ${NAMESPACE}}\n`);
  const servers = ['node1', 'node2'].map((node) => podYaml(`client-${node}`, 'app: client', node));
  await apply([...servers, podYaml('first', 'tier: guarded, rev: "0"', 'node1'), POLICY].join('---\n'));
  clients = await eventually('the clients', async () => {
    const ready = await pods(NAMESPACE, 'app=client');
    return ready.length === 2 ? ready : undefined;
  });
  const first = await addressOf('first');
  await eventually('the policy', async () => (await answers(first)).every((answer) => answer === undefined));
}, 60_000);

afterAll(async () => {
  await tryKubectl('delete', 'namespace', NAMESPACE);
}, 60_000);

function addressOf(name: string): Promise<string> {
  return eventually(`the address of ${name}`, async () => {
    const path = ['-n', NAMESPACE, 'pod', name, '-o', 'jsonpath={.status.podIP}'];
    return (await kubectl('get', ...path)).trim();
  });
}

const answers = (address: string): Promise<(string | undefined)[]> =>
  Promise.all(clients.map((client) => fetchFrom(client, urlOf(address, 80), 1)));

/** Tries for some seconds without a pause; the texts of all answers. */
async function hammer(client: PodInfo, address: string): Promise<string> {
  const loop = `for i in $(seq 25); do curl -sS --max-time 0.2 ${urlOf(address, 80)} 2>/dev/null; done; true`;
  return kubectl('exec', '-n', NAMESPACE, client.name, '--', 'sh', '-c', loop);
}

test.each(ROUNDS)(
  'with $dead dead, new pods that a deny means are never reached, others are',
  async ({ dead, commands }) => {
    const round = ROUNDS.findIndex((one) => one.dead === dead) + 1;
    for (const command of commands) for (const pid of processesOf(command)) process.kill(pid, 'SIGKILL');
    const names = [`guarded-${round}`, `open-${round}`] as const;
    await apply(
      [
        podYaml(names[0], `tier: guarded, rev: "${round}"`, 'node1'),
        podYaml(names[1], `tier: open, rev: "${round}"`, 'node2'),
      ].join('---\n'),
    );
    const guarded = await addressOf(names[0]);
    const got = await Promise.all(clients.map((client) => hammer(client, guarded)));
    expect(got).toEqual(['', '']);
    const open = await addressOf(names[1]);
    await eventually(
      'the open pod',
      async () => (await answers(open)).every((answer) => answer !== undefined),
      60_000,
    );
    expect(await answers(guarded)).toEqual([undefined, undefined]);
  },
  120_000,
);

test('afterwards a change of policy still arrives', async () => {
  await kubectl('delete', 'cnp', '-n', NAMESPACE, 'not-the-guarded');
  for (const name of ['first', ...ROUNDS.map((_, index) => `guarded-${index + 1}`)]) {
    const address = await addressOf(name);
    await eventually(
      name,
      async () => (await answers(address)).every((answer) => answer !== undefined),
      60_000,
    );
  }
}, 120_000);
