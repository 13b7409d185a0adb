// SPDX-License-Identifier: Apache-2.0
// Layouts that users and scripts know: identities, endpoints, services, connections, monitor lines, the bpffs mount.
// Made-up models in, text out.
import { describe, expect, test } from '@jest/globals';
import type { EndpointModel, MonitorEventModel, ServiceModel } from '@cilium-ts/agent-api';
import { formatColumns } from '@cilium-ts/terminal';
import { findBpfMount } from './commands/bpf-fs.ts';
import { connectionText } from './commands/bpf-views.ts';
import { endpointRows } from './commands/endpoint.ts';
import { identityRows } from './commands/identity.ts';
import { eventLine } from './commands/monitor.ts';
import { serviceRows } from './commands/service.ts';
import { buildProgram } from './program.ts';

describe('tables', () => {
  test('identity list has one label per row', () => {
    const identities = [
      { id: 48211, labels: ['k8s:app=a', 'k8s:b=c'], labelsSHA256: '' },
      { id: 1, labels: ['reserved:host'], labelsSHA256: '' },
    ];
    expect(formatColumns(identityRows(identities))).toBe(
      'ID      LABELS\n1       reserved:host\n48211   k8s:app=a\n        k8s:b=c\n',
    );
  });

  test('endpoint list says which direction is enforced', () => {
    const endpoint = {
      id: 912,
      status: {
        state: 'ready',
        identity: { id: 48211, labels: ['k8s:app=a'] },
        networking: { addressing: [{ ipv4: '10.42.3.17', ipv6: 'fd00::17' }] },
        policy: { realized: { 'policy-enabled': 'egress' } },
      },
    } as unknown as EndpointModel;
    const [head, under, row] = endpointRows([endpoint], true);
    expect(head![1]).toBe('POLICY (ingress)');
    expect(under![2]).toBe('ENFORCEMENT');
    expect(row).toEqual([
      '912',
      'Disabled',
      'Enabled',
      '48211',
      'k8s:app=a',
      'fd00::17',
      '10.42.3.17',
      'ready',
    ]);
  });

  test('service list numbers the backends', () => {
    const backend = { ip: '10.42.3.8', port: 53, protocol: 'UDP', state: 'active' };
    const service = {
      spec: {
        id: 5,
        'frontend-address': { ip: '10.43.0.10', port: 53, protocol: 'UDP' },
        'backend-addresses': [backend, { ...backend, ip: 'fd00::8' }],
        flags: { type: 'ClusterIP' },
      },
    } as unknown as ServiceModel;
    expect(serviceRows([service]).slice(1)).toEqual([
      ['5', '10.43.0.10:53/UDP', 'ClusterIP', '1 => 10.42.3.8:53/UDP (active)'],
      ['', '', '', '2 => [fd00::8]:53/UDP (active)'],
    ]);
  });
});

test('a connection reads from its opener to its receiver', () => {
  const key = { low: '10.0.0.1', high: '10.0.0.2', portLow: 80, portHigh: 40000, protocol: 6, kind: 0 };
  const entry = {
    expires: 100,
    flags: 1 | 2 | 8,
    packetsOrigin: 3,
    packetsReply: 2,
    bytesOrigin: 300n,
    bytesReply: 200n,
    service: 0,
    sourceIdentity: 256,
  } as never;
  expect(connectionText(key, entry, 40)).toBe(
    'TCP OUT 10.0.0.2:40000 -> 10.0.0.1:80 expires=100 (remaining: 40 sec(s)) Packets=3 Bytes=300 ReplyPackets=2 ' +
      'ReplyBytes=200 Flags=[ EGRESS_OK SEEN_REPLY ] RevNAT=0 SourceSecurityID=256',
  );
});

test('a drop line names reason, place, identities and the policy', () => {
  const event = {
    type: 'drop',
    mark: '0x5d',
    reason: 'Policy denied',
    dstID: 0,
    Ifindex: 21,
    File: 'bpf_lxc.c',
    Line: 14,
    srcLabel: 48211,
    dstLabel: 2,
    summary: { text: '10.0.0.1:1 -> 10.0.0.2:2 tcp SYN' },
    policy: 'CNP a/b egress[0] (line 3)',
  } as unknown as MonitorEventModel;
  expect(eventLine(event)).toBe(
    'xx drop (Policy denied) flow 0x5d to endpoint 0, ifindex 21, file bpf_lxc.c:14, , identity 48211->2: ' +
      '10.0.0.1:1 -> 10.0.0.2:2 tcp SYN [CNP a/b egress[0] (line 3)]',
  );
});

test('finds the BPF mount in mountinfo', () => {
  const text =
    '1 0 8:1 / / rw - ext4 /dev/a rw\n30 1 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpffs rw,mode=700\n';
  expect(findBpfMount(text)).toMatchObject({
    MountID: 30,
    MountPoint: '/sys/fs/bpf',
    OptionalFields: ['shared:9'],
  });
  expect(findBpfMount('1 0 8:1 / / rw - ext4 /dev/a rw\n')).toBeUndefined();
});

test('every documented command exists', () => {
  const names = (path: string): string[] => {
    let command = buildProgram();
    for (const name of path.split(' ').filter((part) => part !== '')) {
      command = command.commands.find((candidate) => candidate.name() === name)!;
    }
    return command.commands.map((candidate) => candidate.name());
  };
  expect(names('')).toEqual(
    expect.arrayContaining([
      'status',
      'endpoint',
      'identity',
      'policy',
      'service',
      'bpf',
      'monitor',
      'map',
      'version',
    ]),
  );
  expect(names('bpf')).toEqual(
    expect.arrayContaining(['lb', 'ct', 'ipcache', 'policy', 'metrics', 'endpoint', 'fs']),
  );
});
