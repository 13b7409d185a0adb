// SPDX-License-Identifier: Apache-2.0
import {
  PolicyFlags,
  PolicyPrefix,
  TrafficDirection,
  type PolicyEntry,
  type PolicyKey,
} from '@cilium-ts/abi';
import type { RuleSetEntry, Verdict } from './rule-set.ts';

const FLAGS: Readonly<Record<Verdict, number>> = {
  allow: 0,
  deny: PolicyFlags.POLICY_DENY,
  unenforced: PolicyFlags.POLICY_UNENFORCED,
  // A drop that the datapath turns into a pass with verdict AUDIT.
  audit: PolicyFlags.POLICY_DENY | PolicyFlags.POLICY_AUDIT,
};

/** Key of the kernel's map. */
export function encodeKey(entry: RuleSetEntry): PolicyKey {
  return {
    prefixlen: PolicyPrefix.POLICY_PREFIX_L3 + prefixBits(entry),
    identity: entry.identity,
    direction: entry.direction === 'egress' ? TrafficDirection.DIR_EGRESS : TrafficDirection.DIR_INGRESS,
    protocol: entry.protocol,
    port: entry.port,
  };
}

function prefixBits(entry: RuleSetEntry): number {
  return entry.protocol === 0 ? 0 : 8 + entry.portPrefix;
}

/** Key and value of the kernel's map. */
export function encodeEntry(entry: RuleSetEntry): [PolicyKey, PolicyEntry] {
  const { origin, precedence, verdict } = entry;
  const value = { origin, precedence, l7RuleSet: 0, flags: FLAGS[verdict], prefixBits: prefixBits(entry) };
  return [encodeKey(entry), value];
}
