// SPDX-License-Identifier: Apache-2.0
// Shrunk cases that failed once, by what was wrong.
import type { PolicyObject } from '@cilium-ts/policy-oracle';
import type { PolicyCase, Setting } from './generate.ts';

const setting: Setting = { subject: 'db', mode: 'default', allowLocalhost: true, hostFirewall: false };
const audited = { 'policy.cilium-ts.io/audit': 'true' };

function cnp(name: string, spec: object): PolicyObject {
  const metadata = { name, namespace: 'one' };
  return { kind: 'CiliumNetworkPolicy', metadata, spec: { endpointSelector: {}, ...spec } };
}

function tiered(name: string, priority: number, action: string, annotations = {}): PolicyObject {
  const subject = { namespaces: {} };
  const egress = [{ action, to: [{ pods: {} }] }];
  const metadata = { name, annotations };
  return { kind: 'ClusterNetworkPolicy', metadata, spec: { tier: 'Baseline', priority, subject, egress } };
}

function listener(priority: number): object {
  return { ports: [{ port: '3', protocol: 'TCP' }], listener: { name: 'l', priority } };
}

export const REGRESSIONS: readonly (readonly [string, PolicyCase])[] = [
  [
    'a prefix of IPv6 held all addresses of IPv4',
    { setting, objects: [cnp('a', { egress: [{ toCIDR: ['::/0'] }] })] },
  ],
  [
    "a listener's priority had no say in which condition is told",
    {
      setting,
      objects: [
        cnp('a', {
          egress: [{ toPorts: [{ ports: [{ port: '3', protocol: 'TCP' }], serverNames: ['x'] }] }],
        }),
        cnp('b', { egress: [{ toPorts: [listener(93)] }] }),
      ],
    },
  ],
  [
    'an audited Pass into the default deny of the agent was told without its policy',
    {
      setting: { ...setting, mode: 'always' },
      objects: [tiered('a', 1, 'Pass', audited), tiered('b', 2, 'Accept')],
    },
  ],
  [
    'an address of the world got in beside a deny of its prefix',
    {
      setting,
      objects: [
        cnp('a', {
          ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }] }],
          ingressDeny: [{ fromCIDR: ['172.16.0.0/12'] }],
        }),
      ],
    },
  ],
];
