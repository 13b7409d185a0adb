// SPDX-License-Identifier: Apache-2.0
// Tested: one policy feature after another on real connections, with the reason of each drop as Hubble tells it.
// How: several namespaces side by side, each with two clients and two servers on both nodes; a case applies its policies there,
// asks what must pass and what must not, and takes them away again.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { apply, eventually, inAgent, kubectl, pods, tryKubectl, type PodInfo } from './cluster.ts';
import { CASES, type Case, type Probe } from './policy-cases.ts';

const LANES = 4;
const NODES = ['node1', 'node2'] as const;
const OUTSIDE = 'outside1';

interface Lane {
  readonly namespace: string;
  readonly pods: ReadonlyMap<string, PodInfo>;
}

const lanes: Lane[] = [];
let outside = '';
const nodeAddress = new Map<string, string>();

function pod(name: string, labels: string, node: string, more = ''): string {
  const serviceAccount = name.startsWith('echo') ? 'echo' : name;
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {${labels}}}
spec:
  nodeName: ${node}
  ${more}
  serviceAccountName: ${serviceAccount}
  terminationGracePeriodSeconds: 1
  containers:
    - name: server
      image: cilium-ts/demo:0.1.0
      command: [demo-server]
      args: ['8080', '9090']
      ports: [{name: http-8080, containerPort: 8080}, {name: alt, containerPort: 9090}]
`;
}

const account = (name: string): string => `apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ${name}}\n`;

async function openLane(namespace: string): Promise<void> {
  await apply(
    `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}, labels: {lane: ${namespace}}}\n`,
  );
  const yaml = [
    ...['client', 'client2', 'echo'].map(account),
    pod('client', 'kind: client, name: client', 'node1'),
    pod('client2', 'kind: client, name: client2, other: client', 'node2'),
    pod('echo', 'kind: echo, name: echo', 'node1'),
    pod('echo-other', 'kind: echo, name: echo-other, other: echo', 'node2'),
  ];
  await apply(
    yaml.map((text) => text.replace('metadata: {', `metadata: {namespace: ${namespace}, `)).join('---\n'),
  );
  const ready = await eventually(`pods of ${namespace}`, async () => {
    const found = await pods(namespace, 'kind');
    return found.length === 4 ? found : undefined;
  });
  lanes.push({ namespace, pods: new Map(ready.map((one) => [one.name, one])) });
}

beforeAll(async () => {
  // The demo's cluster-wide policy would speak in every case.
  await tryKubectl('delete', 'ccnp', 'deny-cross-namespace');
  await apply(
    [
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: lane-world}\n`,
      `${account('world')}`.replace('metadata: {', 'metadata: {namespace: lane-world, '),
      pod('world', 'kind: world', OUTSIDE, 'hostNetwork: true').replace(
        'metadata: {',
        'metadata: {namespace: lane-world, ',
      ),
    ].join('---\n'),
  );
  await Promise.all(Array.from({ length: LANES }, (_, index) => openLane(`lane${index + 1}`)));
  const [world] = await eventually('the host outside', async () => {
    const found = await pods('lane-world', 'kind=world');
    return found.length === 1 ? found : undefined;
  });
  outside = world!.ipv4;
  for (const node of NODES) {
    const path = ['node', node, '-o', 'jsonpath={.status.addresses[0].address}'];
    nodeAddress.set(node, (await kubectl('get', ...path)).trim());
  }
}, 120_000);

afterAll(async () => {
  const names = ['lane-world', ...lanes.map(({ namespace }) => namespace)];
  await tryKubectl('delete', 'namespace', ...names);
  await kubectl('apply', '-f', 'deploy/demo/policies/deny-cross-namespace.yaml');
}, 120_000);

/** Address of what a probe names, seen from a pod. */
function addressOf(lane: Lane, from: PodInfo, target: string): string {
  if (target === 'world') return outside;
  if (target === 'host') return nodeAddress.get(from.node)!;
  if (target === 'remote-node') return nodeAddress.get(NODES.find((node) => node !== from.node)!)!;
  return lane.pods.get(target)!.ipv4;
}

async function passes(lane: Lane, { from, to, port }: Probe): Promise<boolean> {
  const source = lane.pods.get(from)!;
  const address = addressOf(lane, source, to);
  const command =
    port === 'ping'
      ? ['ping', '-c', '1', '-W', '1', address]
      : ['curl', '-sS', '-o', '/dev/null', '--max-time', '1', `http://${address}:${port}/`];
  const { code } = await tryKubectl('exec', '-n', lane.namespace, from, '--', ...command);
  return code === 0;
}

async function answersOf(lane: Lane, probes: readonly Probe[]): Promise<string> {
  const answers = await Promise.all(
    probes.map(
      async (probe) =>
        `${probe.from} -> ${probe.to}:${probe.port} ${(await passes(lane, probe)) ? 'passes' : 'dropped'}`,
    ),
  );
  return answers.join('\n');
}

const expected = (probes: readonly Probe[]): string =>
  probes
    .map(({ from, to, port, drop }) => `${from} -> ${to}:${port} ${drop ? 'dropped' : 'passes'}`)
    .join('\n');

/** Drops of the lane's clients, as `from reason direction`. */
async function drops(lane: Lane): Promise<Set<string>> {
  const found = new Set<string>();
  for (const node of NODES) {
    const flows = await inAgent(
      node,
      'hubble',
      'observe',
      '--namespace',
      lane.namespace,
      '--verdict',
      'DROPPED',
      '--type',
      'drop',
      '--last',
      '50',
      '-o',
      'json',
    );
    for (const line of flows.split('\n').filter((text) => text.startsWith('{'))) {
      const { flow } = JSON.parse(line) as {
        flow?: { source?: { pod_name?: string }; drop_reason_desc?: string; traffic_direction?: string };
      };
      if (flow) found.add(`${flow.source?.pod_name} ${flow.drop_reason_desc} ${flow.traffic_direction}`);
    }
  }
  return found;
}

async function runCase(lane: Lane, { name, policies, probes }: Case): Promise<void> {
  const yaml = policies(lane.namespace).join('---\n');
  if (yaml !== '') await apply(yaml);
  try {
    const wanted = expected(probes);
    // Asked again until the reasons are right too: at first a policy of the case before may still be the one that drops.
    await eventually(`${name}:\n${wanted}`, async () => {
      const got = await answersOf(lane, probes);
      if (got !== wanted) throw new Error(`got:\n${got}`);
      const told = await drops(lane);
      const missing = probes.filter(({ from, drop }) => drop && !told.has(`${from} ${drop}`));
      if (missing.length > 0) throw new Error(`${JSON.stringify(missing)} not in ${[...told].join(', ')}`);
      return true;
    });
  } finally {
    if (yaml !== '') await deleteYaml(yaml);
  }
}

async function deleteYaml(yaml: string): Promise<void> {
  for (const document of yaml.split('---\n')) {
    const kind = /kind: (\w+)/.exec(document)![1]!;
    const [, metadata] = /metadata: \{(.*)\}/.exec(document)!;
    const name = /name: ([\w-]+)/.exec(metadata!)![1]!;
    const namespace = /namespace: ([\w-]+)/.exec(metadata!)?.[1];
    await kubectl('delete', kind, name, ...(namespace ? ['-n', namespace] : []));
  }
}

test(`${CASES.length} features, each with what passes and what is dropped for which reason`, async () => {
  const open = [...CASES];
  const failures: string[] = [];
  await Promise.all(
    lanes.map(async (lane) => {
      for (let next = open.shift(); next; next = open.shift()) {
        await runCase(lane, next).catch((error: Error) => failures.push(`${next.name}: ${error.message}`));
      }
    }),
  );
  expect(failures).toEqual([]);
}, 180_000);
