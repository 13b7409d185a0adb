// SPDX-License-Identifier: Apache-2.0
// The names of addresses and identities, read from the agent's tables.
import { cidrLabels, formatLabel, reservedIdentity } from '@cilium-ts/identity';
import type { FlowDecision, FlowEndpoint, FlowLookups, FlowService } from '@cilium-ts/flow';
import { frontendKey } from '@cilium-ts/loadbalancer';
import type { Direction, RuleSet } from '@cilium-ts/policy';
import type { AgentTables } from '../rows.ts';

export interface LookupPorts {
  readonly nodeName: string;
  readonly clusterName: string;
  readonly version: string;
  readonly tables: Pick<AgentTables, 'endpoints' | 'addresses' | 'identities' | 'services'>;
  readonly ruleSetByNumber: (number: number) => RuleSet | undefined;
  readonly originOf: (ruleSet: number, origin: number, direction: Direction) => FlowDecision | undefined;
  readonly cidrs: () => readonly { readonly prefix: string; readonly identity: number }[];
  /** Empty where unknown. */
  readonly interfaceName: (ifindex: number) => string;
}

const CIDR_FIRST = 16_777_216;
/** Between readings of both clocks: they drift apart when the wall clock is set. */
const CLOCK_INTERVAL_MS = 1000;

export function agentLookups(ports: LookupPorts): FlowLookups {
  const { tables, clusterName } = ports;
  return {
    nodeName: clusterName === 'default' ? ports.nodeName : `${clusterName}/${ports.nodeName}`,
    clusterName,
    version: ports.version,
    endpointByAddress: (address) => endpointByAddress(tables, address),
    identityLabels: (identity) => identityLabels(ports, identity),
    serviceByAddress: (address, port, protocol) => serviceByAddress(tables, address, port, protocol),
    originOf: (ruleSet, origin, direction) => withVerdict(ports, ruleSet, origin, direction),
    interfaceName: ports.interfaceName,
    clockOffset: clockOffset(),
  };
}

/** The kernel's events carry CLOCK_MONOTONIC, which is also what hrtime reads. */
function clockOffset(): () => bigint {
  let offset = 0n;
  let readAt = -Infinity;
  return () => {
    const now = performance.now();
    if (now - readAt > CLOCK_INTERVAL_MS) {
      readAt = now;
      offset = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    }
    return offset;
  };
}

function endpointByAddress(tables: LookupPorts['tables'], address: string): FlowEndpoint | undefined {
  if (address === '') return undefined;
  const [local] = tables.endpoints.find('address', address);
  if (local) return local;
  const remote = tables.addresses.get(address);
  if (!remote) return undefined;
  const labels = tables.identities.get(String(remote.identity))?.labels ?? [];
  return { id: 0, identity: remote.identity, namespace: remote.namespace, podName: remote.podName, labels };
}

function identityLabels(ports: LookupPorts, identity: number): readonly string[] {
  const reserved = reservedIdentity(identity);
  if (reserved) return [`reserved:${reserved.name}`];
  if (identity < CIDR_FIRST) return ports.tables.identities.get(String(identity))?.labels ?? [];
  const cidr = ports.cidrs().find((known) => known.identity === identity);
  return cidr ? cidrLabels(cidr.prefix).map(formatLabel) : [];
}

function serviceByAddress(
  tables: LookupPorts['tables'],
  address: string,
  port: number,
  protocol: number,
): FlowService | undefined {
  if (port === 0 || tables.services.size === 0) return undefined;
  const row = tables.services.get(frontendKey({ address, port, protocol }));
  return row && { namespace: row.namespace, name: row.name };
}

const verdicts = new WeakMap<RuleSet, Map<number, 'deny' | 'unenforced'>>();

/** A denied entry says whether it denies, or allows under a condition that nothing enforces yet. */
function withVerdict(
  ports: LookupPorts,
  number: number,
  origin: number,
  direction: Direction,
): FlowDecision | undefined {
  const decision = ports.originOf(number, origin, direction);
  const ruleSet = ports.ruleSetByNumber(number);
  if (!decision || !ruleSet) return decision;
  if (decision.kind === 'default-deny') return { ...decision, ruleSet };
  let known = verdicts.get(ruleSet);
  if (!known) {
    known = new Map();
    for (const { verdict, origin: number } of ruleSet.rows)
      if (verdict === 'deny' || verdict === 'unenforced') known.set(number, verdict);
    verdicts.set(ruleSet, known);
  }
  const verdict = known.get(origin);
  return verdict ? { ...decision, verdict } : decision;
}
