// SPDX-License-Identifier: Apache-2.0
// The command as users type it: output to the letter, exit codes, errors.
// A process of its own against a made-up agent on a unix socket.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runCilium, startFakeAgent, type FakeAgent, type Outcome } from './fake-agent.ts';

const policy = { 'proxy-policy-revision': 7, realized: { 'policy-enabled': 'egress' }, spec: {} };
const frontend = {
  id: 912,
  spec: {},
  status: {
    state: 'ready',
    identity: { id: 48211, labels: ['k8s:app=frontend', 'k8s:io.kubernetes.pod.namespace=production'] },
    networking: { addressing: [{ ipv4: '10.42.3.17' }] },
    policy,
  },
};
const drop = {
  type: 'drop',
  mark: '0x5d1c2a44',
  reason: 'Policy denied',
  source: 912,
  dstID: 0,
  Ifindex: 21,
  File: 'bpf_lxc.c',
  Line: 1432,
  srcLabel: 48211,
  dstLabel: 48240,
  summary: { text: '10.42.3.17:40112 -> 10.42.4.9:9000 tcp SYN' },
};
const trace = { ...drop, type: 'trace', observationPoint: 'to-stack', state: 'new' };
const status = {
  cilium: { state: 'Ok', msg: '0.1.0' },
  kubernetes: { state: 'Ok', msg: 'https://10.96.0.1' },
  'policy-source': { state: 'Ok', msg: 'nats: connected' },
  policy: { revision: 7, epoch: 9, error: '' },
  version: '0.1.0',
  'kube-proxy-replacement': {
    mode: 'True',
    devices: ['eth0 192.0.2.11 (Direct Routing)'],
    'xdp-acceleration': 'Native',
  },
  cni: { chaining: 'none', 'config-file': '', 'config-present': false },
  'host-firewall': 'Disabled',
  'node-monitor': { cpus: 4, events: 1, lost: 0, listeners: 0 },
  ipam: { pools: [{ cidr: '10.42.3.0/24', family: 4, allocated: 6, size: 254 }], allocations: {} },
  routing: { mode: 'Native', host: 'BPF' },
  'attach-mode': 'TCX',
  masquerading: { mode: 'BPF', ipv4: true, ipv6: false, cidrs: [] },
  controllers: [],
  'identity-range': { min: 256, max: 65535 },
  hubble: { state: 'Ok', 'current-flows': 4095, 'max-flows': 4095, 'flows-per-second': 12.4, metrics: 'Ok' },
  nodes: [],
  'bpf-maps': [{ name: 'cilium_events', size: 1 << 20 }],
};

describe('against an agent', () => {
  let agent: FakeAgent;
  const cilium = (...args: string[]): Promise<Outcome> => runCilium(agent.socket, ...args);

  beforeAll(async () => {
    agent = await startFakeAgent({
      '/v1/healthz': status,
      '/v1/endpoint': [frontend],
      '/v1/endpoint/912': frontend,
      '/v1/endpoint/pod-name%3Aproduction%3Afrontend-0': frontend,
      '/v1/endpoint?labels=k8s%3Aapp%3Dfrontend': [frontend],
      '/v1/policy': { policy: '[\n  {"endpointSelector": {}}\n]', revision: 7 },
      '/v1/policy/selectors': [
        {
          selector: '{any:app=backend}',
          labels: [
            { key: 'io.cilium.k8s.policy.name', value: 'allow', source: 'k8s' },
            { key: 'io.cilium.k8s.policy.namespace', value: 'production', source: 'k8s' },
          ],
          identities: [48219, 48240],
          users: 1,
        },
      ],
      '/v1/metrics': [{ name: 'cilium_xdp_attached', labels: { device: 'eth0', mode: 'native' }, value: 1 }],
      '/v1/monitor': `${JSON.stringify(drop)}\n${JSON.stringify(trace)}\n`,
      '/v1/monitor?type=drop': `${JSON.stringify(drop)}\n`,
      '/v1/ip': 'not json',
    });
  });
  afterAll(() => agent.stop());

  test('endpoint list has two header rows and one label per row', async () => {
    expect((await cilium('endpoint', 'list')).stdout).toBe(
      [
        'ENDPOINT   POLICY (ingress)   POLICY (egress)   IDENTITY   LABELS (source:key[=value])                  IPv6   IPv4         STATUS',
        '           ENFORCEMENT        ENFORCEMENT',
        '912        Disabled           Enabled           48211      k8s:app=frontend                                    10.42.3.17   ready',
        '                                                           k8s:io.kubernetes.pod.namespace=production',
        '',
      ].join('\n'),
    );
  });

  test('endpoint get of one id is an object with the policy on top, of a selection an array', async () => {
    const one = JSON.parse((await cilium('endpoint', 'get', '912', '-o', 'json')).stdout) as {
      policy: unknown;
    };
    expect(one.policy).toEqual(policy);
    expect(
      (await cilium('endpoint', 'get', 'pod-name:production:frontend-0', '-o', 'jsonpath={.id}')).stdout,
    ).toBe('912\n');
    expect(
      (
        await cilium(
          'endpoint',
          'get',
          '912',
          '-o',
          "jsonpath={[0].status.policy.realized['policy-enabled']}",
        )
      ).stdout,
    ).toBe('egress\n');
    const several = JSON.parse(
      (await cilium('endpoint', 'get', '-l', 'k8s:app=frontend', '-o', 'json')).stdout,
    ) as unknown;
    expect(several).toEqual([frontend]);
  });

  test('policy get prints the rules, then the revision', async () => {
    expect((await cilium('policy', 'get')).stdout).toBe('[\n  {"endpointSelector": {}}\n]\nRevision: 7\n');
    expect(JSON.parse((await cilium('policy', 'get', '-o', 'json')).stdout)).toHaveProperty('revision', 7);
  });

  test('policy selectors has one identity per row', async () => {
    expect((await cilium('policy', 'selectors')).stdout).toBe(
      [
        'SELECTOR            LABELS             USERS   IDENTITIES',
        '{any:app=backend}   production/allow   1       48219',
        '                                               48240',
        '',
      ].join('\n'),
    );
  });

  test('status has the lines that people grep for', async () => {
    const { stdout, code } = await cilium('status');
    expect(code).toBe(0);
    const line = (name: string): string | undefined =>
      stdout.split('\n').find((text) => text.startsWith(`${name}:`));
    expect(line('XDP Acceleration')).toMatch(/^XDP Acceleration: +Native$/);
    expect(line('IPAM')).toMatch(/IPv4: 6\/254 allocated from 10\.42\.3\.0\/24$/);
    expect(line('KubeProxyReplacement')).toMatch(/True {3}\[eth0 192\.0\.2\.11 \(Direct Routing\)\]$/);
    expect(line('Hubble')).toContain('Current/Max Flows: 4095/4095 (100.00%), Flows/s: 12.40');
    expect(await cilium('status', '--brief')).toMatchObject({ code: 0, stdout: 'OK\n' });
  });

  test('monitor prints events of the wanted type and says when the agent goes', async () => {
    const { stdout, stderr, code } = await cilium('monitor', '--type', 'drop');
    expect(stdout).toBe(
      'Listening for events on 4 CPUs with 256x4096 of shared memory\nPress Ctrl-C to quit\n' +
        'xx drop (Policy denied) flow 0x5d1c2a44 to endpoint 0, ifindex 21, file bpf_lxc.c:1432, , ' +
        'identity 48211->48240: 10.42.3.17:40112 -> 10.42.4.9:9000 tcp SYN\n',
    );
    expect(stderr).toContain('the agent closed the stream');
    expect(code).toBe(1);
    const lines = (await cilium('monitor', '-j')).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([drop, trace]);
  });

  test('metrics list filters by name', async () => {
    const { stdout } = await cilium('metrics', 'list', '-p', 'xdp');
    expect(stdout).toBe(
      'Metric                Labels                    Value\ncilium_xdp_attached   device=eth0 mode=native   1.000000\n',
    );
  });

  test('errors of the agent and answers that are none are one line and exit code 1', async () => {
    const missing = await cilium('endpoint', 'get', '5');
    expect(missing).toMatchObject({ code: 1, stdout: '', stderr: 'Error: no such thing: /v1/endpoint/5\n' });
    expect(await cilium('ip', 'list')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not JSON'),
    });
  });

  test('wrong arguments are exit code 2 and name what is allowed', async () => {
    const type = await cilium('monitor', '--type', 'foo');
    expect(type).toMatchObject({ code: 2, stderr: expect.stringContaining('drop, trace, policy-verdict') });
    expect(await cilium('endpoint', 'list', '-o', 'wide')).toMatchObject({ code: 2 });
    expect(await cilium('frobnicate')).toMatchObject({ code: 2 });
  });
});

test('without an agent the error names the socket that was tried', async () => {
  const { code, stderr } = await runCilium('/nonexistent/cilium.sock', 'status', '--brief');
  expect(code).toBe(1);
  expect(stderr).toContain('/nonexistent/cilium.sock: ENOENT');
});
