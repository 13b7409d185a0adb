// SPDX-License-Identifier: Apache-2.0
import type { Direction, RuleSetEntry } from './rule-set.ts';

/** What the datapath asks the policy map. */
export interface PolicyFlow {
  readonly direction: Direction;
  /** Identity of the other side. */
  readonly identity: number;
  readonly protocol: number;
  /** Destination port, or ICMP type. */
  readonly port: number;
}

function matchBits(entry: RuleSetEntry): number {
  return entry.protocol === 0 ? 0 : 8 + entry.portPrefix;
}

function matches(entry: RuleSetEntry, flow: PolicyFlow): boolean {
  if (entry.direction !== flow.direction) return false;
  if (entry.protocol === 0) return true;
  return entry.protocol === flow.protocol && (entry.port ^ flow.port) >> (16 - entry.portPrefix) === 0;
}

/** Model of the kernel's lookup: longest prefix for the exact identity and for any, then precedence, length, exactness. */
export function lookup(entries: Iterable<RuleSetEntry>, flow: PolicyFlow): RuleSetEntry | undefined {
  const all = [...entries];
  const longest = (identity: number): RuleSetEntry | undefined => {
    let best: RuleSetEntry | undefined;
    for (const entry of all) {
      if (entry.identity !== identity || !matches(entry, flow)) continue;
      if (!best || matchBits(entry) > matchBits(best)) best = entry;
    }
    return best;
  };
  const any = longest(0);
  const exact = flow.identity === 0 ? undefined : longest(flow.identity);
  if (!exact || !any) return exact ?? any;
  if (any.precedence !== exact.precedence) return any.precedence > exact.precedence ? any : exact;
  return matchBits(any) > matchBits(exact) ? any : exact;
}
