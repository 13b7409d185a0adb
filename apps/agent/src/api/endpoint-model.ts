// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import type { EndpointModel, EndpointPolicyModel, IdentityModel, L4RuleModel } from '@cilium-ts/agent-api';
import { protocolName } from '@cilium-ts/net';
import {
  formatOriginObject,
  type Direction,
  type Origin,
  type RuleSet,
  type RuleSetEntry,
} from '@cilium-ts/policy';
import type { EndpointRow } from '../rows.ts';

export function originText(origin: Origin): string {
  return `${formatOriginObject(origin)} ${origin.path} (line ${origin.line})`;
}

export function identityModel(id: number, labels: readonly string[]): IdentityModel {
  const sorted = [...labels].sort();
  const labelsSHA256 = createHash('sha256')
    .update(sorted.map((label) => `${label};`).join(''))
    .digest('hex');
  return { id, labels: sorted, labelsSHA256 };
}

/** Entries that differ only in the remote identity are one rule for several identities. */
function l4Rules({ ruleSet, entries }: ModelFacts, direction: Direction): L4RuleModel[] {
  const groups = new Map<string, { entry: RuleSetEntry; identities: number[]; origins: Set<number> }>();
  for (const entry of entries) {
    if (entry.direction !== direction || entry.origin === 0) continue;
    const key = `${entry.protocol} ${entry.port}/${entry.portPrefix} ${entry.verdict}`;
    const group = groups.get(key) ?? { entry, identities: [], origins: new Set<number>() };
    group.identities.push(entry.identity);
    group.origins.add(entry.origin);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ entry, identities, origins }) => {
    const sources = [...origins]
      .map((id) => ruleSet!.origins[id - 1])
      .filter((origin) => origin !== undefined);
    const names = sources.map(derivedFrom);
    const rule = {
      port: entry.port,
      ...(entry.portPrefix > 0 && entry.portPrefix < 16
        ? { endPort: entry.port + 2 ** (16 - entry.portPrefix) - 1 }
        : {}),
      protocol: protocolName(entry.protocol),
      verdict: entry.verdict,
      identities,
    };
    return {
      rule: JSON.stringify(rule),
      'derived-from-rules': names,
      origins: sources.map(originText),
      'rules-by-selector': Object.fromEntries(identities.map((identity) => [String(identity), names])),
    };
  });
}

function derivedFrom(origin: Origin): string[] {
  return [
    `k8s:io.cilium.k8s.policy.derived-from=${origin.kind}`,
    `k8s:io.cilium.k8s.policy.name=${origin.name}`,
    ...(origin.namespace === undefined ? [] : [`k8s:io.cilium.k8s.policy.namespace=${origin.namespace}`]),
    `path=${origin.path}`,
    `line=${origin.line}`,
  ];
}

function identitiesOf(entries: ModelFacts['entries'], direction: Direction, allowed: boolean): number[] {
  const found = entries.filter(
    (entry) =>
      entry.direction === direction && (entry.verdict === 'allow' || entry.verdict === 'audit') === allowed,
  );
  return [...new Set(found.map((entry) => entry.identity))].sort((a, b) => a - b);
}

export function policyEnabled(
  ruleSet: RuleSet | undefined,
  audit: boolean,
): EndpointPolicyModel['policy-enabled'] {
  // Without a rule set everything is dropped in both directions.
  const { ingress, egress } = ruleSet?.enforced ?? { ingress: true, egress: true };
  const which = ingress && egress ? 'both' : ingress ? 'ingress' : egress ? 'egress' : 'none';
  return audit && which !== 'none' ? `audit-${which}` : which;
}

export interface ModelFacts {
  readonly ruleSet: RuleSet | undefined;
  /** What the rule set is in the kernel now. */
  readonly entries: readonly RuleSetEntry[];
  readonly audit: boolean;
}

export function endpointPolicy(row: EndpointRow, facts: ModelFacts): EndpointPolicyModel {
  const { ruleSet, entries, audit } = facts;
  const isolated = (direction: Direction): string[] => (ruleSet?.isolatedBy[direction] ?? []).map(originText);
  return {
    'policy-revision': row.policyRevision,
    'policy-enabled': policyEnabled(ruleSet, audit),
    id: row.identity,
    build: row.policyRevision,
    'rule-set': { number: row.ruleSet, id: row.ruleSetId, entries: entries.length },
    'isolated-by': { ingress: isolated('ingress'), egress: isolated('egress') },
    'allowed-ingress-identities': identitiesOf(entries, 'ingress', true),
    'allowed-egress-identities': identitiesOf(entries, 'egress', true),
    'denied-ingress-identities': identitiesOf(entries, 'ingress', false),
    'denied-egress-identities': identitiesOf(entries, 'egress', false),
    'cidr-policy': { ingress: [], egress: [] },
    l4: { ingress: l4Rules(facts, 'ingress'), egress: l4Rules(facts, 'egress') },
  };
}

export function endpointHealth(row: EndpointRow): EndpointModel['status']['health'] {
  const policy = row.policyError !== undefined ? 'Warning' : row.ruleSet === 0 ? 'Bootstrap' : 'OK';
  const bpf = row.state === 'ready' ? 'OK' : 'Pending';
  const overallHealth = policy === 'OK' && bpf === 'OK' ? 'OK' : policy === 'OK' ? bpf : policy;
  return { overallHealth, bpf, policy, connected: row.state !== 'disconnecting' };
}

export function endpointModel(row: EndpointRow, facts: ModelFacts): EndpointModel {
  const policy = endpointPolicy(row, facts);
  return {
    id: row.id,
    spec: {
      'label-configuration': {},
      options: {
        DropNotification: 'Enabled',
        TraceNotification: 'Enabled',
        PolicyVerdictNotification: 'true',
        PolicyAuditMode: facts.audit ? 'Enabled' : 'Disabled',
      },
    },
    status: {
      state: row.state,
      'external-identifiers': {
        'cni-attachment-id': `${row.containerId}:${row.interfaceName}`,
        'container-id': row.containerId,
        'k8s-namespace': row.namespace,
        'k8s-pod-name': row.podName,
        'pod-name': `${row.namespace}/${row.podName}`,
      },
      identity: identityModel(row.identity, row.labels),
      labels: { realized: {}, 'security-relevant': [...row.labels], derived: [] },
      networking: {
        addressing: [{ ...(row.ipv4 ? { ipv4: row.ipv4 } : {}), ...(row.ipv6 ? { ipv6: row.ipv6 } : {}) }],
        mac: row.mac,
        'host-mac': row.hostMac,
        'interface-name': row.hostDevice,
        'interface-index': row.ifindex,
        'container-interface-name': row.interfaceName,
      },
      policy: {
        'proxy-policy-revision': row.policyRevision,
        spec: policy,
        realized: policy,
        'proxy-statistics': [],
      },
      controllers: [],
      health: endpointHealth(row),
      log: [...row.log].reverse(),
      namedPorts: [...row.namedPorts],
    },
  };
}
