// SPDX-License-Identifier: Apache-2.0
// resolv.conf and hosts of pods by dnsPolicy, dnsConfig and host network, as texts.
import { describe, expect, it } from '@jest/globals';
import type { Pod } from '@cilium-ts/kube';
import { hostsFile, resolvConf } from './network-files.ts';

const pod = (spec: object): Pod =>
  ({ metadata: { name: 'p', namespace: 'shop' }, spec: { containers: [], ...spec } }) as unknown as Pod;
const machine = 'nameserver 9.9.9.9\nsearch example.org\noptions timeout:1\n';

describe('resolvConf', () => {
  it('points to the cluster DNS unless the pod uses the host network', () => {
    const cluster =
      'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n';
    expect(resolvConf(pod({}), '10.96.0.10', machine)).toBe(cluster);
    expect(resolvConf(pod({ hostNetwork: true }), '10.96.0.10', machine)).toBe(machine);
    expect(
      resolvConf(pod({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }), '10.96.0.10', machine),
    ).toBe(cluster);
    expect(resolvConf(pod({ dnsPolicy: 'Default' }), '10.96.0.10', machine)).toBe(machine);
  });

  it('adds dnsConfig, whose options replace equal ones', () => {
    const dnsConfig = {
      nameservers: ['1.1.1.1'],
      searches: ['a.b'],
      options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
    };
    expect(resolvConf(pod({ dnsPolicy: 'None', dnsConfig }), '10.96.0.10', machine)).toBe(
      'nameserver 1.1.1.1\nsearch a.b\noptions ndots:2 edns0\n',
    );
    expect(resolvConf(pod({ dnsConfig }), '10.96.0.10', machine)).toContain('options ndots:2 edns0');
  });
});

describe('hostsFile', () => {
  it('names the pod by all its addresses and lists host aliases', () => {
    const text = hostsFile(
      pod({ hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }], subdomain: 'sub' }),
      ['10.0.0.1', 'fd00::1'],
      [],
    );
    expect(text).toContain('10.0.0.1\tp.sub.shop.svc.cluster.local\tp\n');
    expect(text).toContain('fd00::1\t');
    expect(text).toContain('1.2.3.4\tx\ty\n');
  });

  it('names the nodes in pods of the host network', () => {
    expect(hostsFile(pod({ hostNetwork: true }), [], [{ name: 'node1', address: '192.168.77.1' }])).toContain(
      '192.168.77.1\tnode1',
    );
  });
});
