// SPDX-License-Identifier: Apache-2.0
// `cilium bpf ... list` with no agent running: what the kernel holds, as people and scripts read it.
// Maps filled here and pinned in a BPF file system of the test's own; the command as a process.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  ctAnyGlobalMap,
  CtFlags,
  ctGlobalMap,
  ctHalfOpenMap,
  endpointsMap,
  ipcacheExactMap,
  ipcacheMap,
  lbServicesMap,
  lbSlotsMap,
  policyMap,
} from '@cilium-ts/abi';
import { BpfMap, OuterMap, type MapSpec } from '@cilium-ts/bpf';
import { temporaryBpffs } from '@cilium-ts/bpf/testing';
import { loadNative, type Native } from '@cilium-ts/native';
import { runCilium, type Outcome } from './fake-agent.ts';

let native: Native;
let bpffs: { path: string; remove: () => void };

function fill<K, V>(spec: MapSpec<K, V>, entries: readonly (readonly [K, V])[]): void {
  const map = BpfMap.create(native, spec, { maxEntries: 16 });
  for (const [key, value] of entries) map.set(key, value);
  map.pin(join(bpffs.path, 'tc/globals', spec.name));
  map.close();
}

const cilium = (...args: string[]): Promise<Outcome> =>
  runCilium('/nonexistent/cilium.sock', ...args, '--bpf-root', bpffs.path);

async function fillPolicy(): Promise<void> {
  const outer = OuterMap.create(native, policyMap);
  const inner = await outer.createInner([
    [
      { prefixlen: 64, identity: 48240, direction: 1, protocol: 6, port: 8080 },
      { origin: 1, precedence: 10, l7RuleSet: 0, flags: 0, prefixBits: 24 },
    ],
  ]);
  await outer.put([[3, inner]]);
  native.bpfPin({ fd: outer.fd, path: join(bpffs.path, 'tc/globals', policyMap.name) });
  inner.close();
  outer.close();
}

beforeAll(async () => {
  native = loadNative();
  bpffs = temporaryBpffs(native);
  mkdirSync(join(bpffs.path, 'tc/globals'), { recursive: true });
  const service = { id: 5, offset: 2, count: 2, generation: 1, affinityTimeout: 0, flags: 0 };
  fill(lbServicesMap, [[{ addr: '10.96.0.10', port: 53, protocol: 17, scope: 0 }, service]]);
  const slot = { port: 53, protocol: 17, flags: 0, backendId: 1 };
  fill(lbSlotsMap, [
    [{ index: 2 }, { ...slot, addr: '10.42.3.8' }],
    [{ index: 3 }, { ...slot, addr: '10.42.4.9' }],
  ]);
  fill(ipcacheExactMap, [[{ addr: '10.42.3.8' }, { identity: 48211, flags: 0, node: '192.0.2.11' }]]);
  fill(ipcacheMap, [
    [
      { prefixlen: 96, addr: '0.0.0.0' },
      { identity: 2, flags: 0, node: '' },
    ],
  ]);
  fill(ctGlobalMap, []);
  fill(ctHalfOpenMap, []);
  const key = { low: '10.0.0.1', high: '10.0.0.2', portLow: 53, portHigh: 40000, protocol: 17, kind: 0 };
  const flags = CtFlags.CT_EGRESS_OK | CtFlags.CT_ORIGIN_HIGH;
  const entry = {
    expires: 100,
    flags,
    packetsOrigin: 1,
    bytesOrigin: 60n,
    bytesReply: 0n,
    sourceIdentity: 256,
  };
  const zero = {
    tcpFlagsOrigin: 0,
    tcpFlagsReply: 0,
    epochEgress: 0,
    epochIngress: 0,
    reportedOrigin: 0,
    reportedReply: 0,
  };
  const noService = {
    service: 0,
    backend: '',
    backendPort: 0,
    destinationIdentity: 0,
    targetOrigin: 0n,
    targetReply: 0n,
  };
  fill(ctAnyGlobalMap, [[key, { ...zero, ...entry, packetsReply: 0, ...noService }]]);
  const endpoint = {
    identity: 48211,
    ruleSet: 3,
    id: 912,
    flags: 0,
    mac: '02:00:00:00:00:01',
    nodeMac: '02:00:00:00:00:02',
  };
  fill(endpointsMap, [[{ ifindex: 21 }, { ...endpoint, ipv4: '10.42.3.8', ipv6: '' }]]);
  await fillPolicy();
});
afterAll(() => bpffs.remove());

test('services come as slots, slot 0 first', async () => {
  const { stdout, stderr } = await cilium('bpf', 'lb', 'list');
  expect(stderr).toBe('');
  expect(stdout).toBe(
    [
      'SERVICE ADDRESS         BACKEND ADDRESS (REVNAT_ID) (SLOT)',
      '10.96.0.10:53/UDP (0)   0.0.0.0:0 (5) (0) [ClusterIP, non-routable]',
      '10.96.0.10:53/UDP (1)   10.42.3.8:53/UDP (5) (1)',
      '10.96.0.10:53/UDP (2)   10.42.4.9:53/UDP (5) (2)',
      '',
    ].join('\n'),
  );
  expect(JSON.parse((await cilium('bpf', 'lb', 'list', '-o', 'json')).stdout)).toMatchObject({
    '10.96.0.10:53/UDP (1)': ['10.42.3.8:53/UDP (5) (1)'],
  });
});

test('ipcache shows single addresses and prefixes', async () => {
  const shown = JSON.parse((await cilium('bpf', 'ipcache', 'list', '-o', 'json')).stdout) as Record<
    string,
    string[]
  >;
  expect(Object.keys(shown)).toEqual(['0.0.0.0/0', '10.42.3.8/32']);
  expect(shown['10.42.3.8/32']![0]).toMatch(/^identity=48211 .*node=192\.0\.2\.11/);
});

test('a single connection is listed, without a word about nothing found', async () => {
  const { stdout, stderr } = await cilium('bpf', 'ct', 'list', 'global');
  expect(stdout).toMatch(
    /^UDP OUT 10\.0\.0\.2:40000 -> 10\.0\.0\.1:53 expires=100 .*SourceSecurityID=256\n$/,
  );
  expect(stderr).toBe('');
});

test('policy entries of an endpoint', async () => {
  const { stdout } = await cilium('bpf', 'policy', 'get', '912');
  expect(stdout.split('\n')[1]).toMatch(/^912 +Allow +Egress +48240 +8080\/TCP +NONE +disabled +24 +10 +1$/);
  expect(await cilium('bpf', 'policy', 'get', '913')).toMatchObject({
    code: 1,
    stderr: 'Error: no endpoint 913 in the kernel\n',
  });
});

test('map get shows keys and values, and names the maps it can show', async () => {
  const { stdout } = await cilium('map', 'get', 'cilium_ipcache_exact', '-o', 'jsonpath={[0].key}');
  expect(stdout).toBe('{"addr":"10.42.3.8"}\n');
  const unknown = await cilium('map', 'get', 'no_such_map');
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain('cilium_lb_services');
});

test('a map that no agent made is an error with its path', async () => {
  const { code, stderr } = await cilium('bpf', 'metrics', 'list');
  expect(code).toBe(1);
  expect(stderr).toContain(`${bpffs.path}/tc/globals/cilium_metrics`);
});
