// SPDX-License-Identifier: Apache-2.0
// What numbers of the datapath are called in tables, metrics and lines for people.
import { Forwarded, SourceFileNames, type ForwardedKey, type MetricsKey } from '@cilium-ts/abi';

const DROP_TEXTS: Readonly<Record<number, string>> = {
  0: 'Success',
  130: 'Invalid source mac',
  132: 'Invalid source ip',
  133: 'Policy denied',
  134: 'Invalid packet',
  135: 'CT: Truncated or invalid header',
  136: 'Fragmentation needed',
  137: 'CT: Unknown L4 protocol',
  139: 'Unsupported L3 protocol',
  141: 'Error writing to packet',
  142: 'Unknown L4 protocol',
  150: 'Unknown L3 target address',
  151: 'Stale or unroutable IP',
  153: 'Error while correcting L3 checksum',
  154: 'Error while correcting L4 checksum',
  155: 'CT: Map insertion failed',
  156: 'Invalid IPv6 extension header',
  157: 'IP fragmentation not supported',
  158: 'Service backend not found',
  167: 'No mapping for NAT masquerade',
  168: 'Unsupported protocol for NAT masquerade',
  169: 'FIB lookup failed',
  175: 'First logical datagram fragment not found',
  181: 'Policy denied by denylist',
  240: 'Prefilter',
  241: 'Policy condition not enforced yet',
  242: 'No rule set',
};

/** `Policy denied`; 0 is `Success`. */
export function dropReasonText(reason: number): string {
  return DROP_TEXTS[reason] ?? `Reason ${reason}`;
}

export const DROP_REASON_TEXTS = DROP_TEXTS;

/** `bpf_lxc.c`, `policy.h`. */
export function sourceFileText(file: number): string {
  const name = SourceFileNames[file] ?? '';
  if (name.startsWith('FILE_BPF_')) return `${name.slice(5).toLowerCase()}.c`;
  return name.startsWith('FILE_LIB_') ? `${name.slice(9).toLowerCase()}.h` : 'unknown';
}

/** The counters of forwarded packets under the key that they would have among the drops: reason 0. */
export function forwardedMetric({ place }: ForwardedKey): MetricsKey {
  const files = 2 ** Forwarded.FORWARDED_FILE_BITS;
  return { reason: 0, direction: Math.floor(place / files), line: 0, file: place % files };
}

const DIRECTIONS = ['UNKNOWN', 'INGRESS', 'EGRESS', 'SERVICE'];

export function directionText(direction: number): string {
  return DIRECTIONS[direction] ?? 'UNKNOWN';
}
