// SPDX-License-Identifier: Apache-2.0
// Inputs of the policy benches: arithmetic on an index, so that the results can be compared with golden values.
import { parseCiliumPolicy, type ParsedPolicy } from '@cilium-ts/policy';
import type { Label } from '@cilium-ts/identity';

const LENGTHS = [8, 16, 24, 28, 32] as const;
const FIRST_BYTES = [10, 192, 244] as const;

interface Moduli {
  readonly second: number;
  readonly third: number;
  readonly nibble: number;
  readonly fourth: number;
}

const ALLOW: Moduli = { second: 17, third: 121, nibble: 16, fourth: 255 };
const DENY: Moduli = { second: 23, third: 119, nibble: 15, fourth: 253 };

function cidr(i: number, length: number, moduli: Moduli): string {
  const fourth = length === 28 ? (i % moduli.nibble) * 16 : i % moduli.fourth;
  const bytes = [FIRST_BYTES[i % 3], i % moduli.second, i % moduli.third, fourth];
  const whole = Math.ceil(length / 8);
  return `${bytes.map((byte, at) => (at < whole ? byte : 0)).join('.')}/${length}`;
}

const port = (number: number): object => ({ ports: [{ port: String(number), protocol: 'TCP' }] });

function allowRule(i: number): object {
  return { toCIDR: [cidr(i, LENGTHS[i % 5]!, ALLOW)], toPorts: [port(80 + (i % 97))] };
}

function denyRule(i: number): object {
  const j = i + 773;
  return { toCIDR: [cidr(j, LENGTHS[(j + 21) % 5]!, DENY)], toPorts: [port(80 + (j % 131))] };
}

/** @throws Error where an input is not a valid policy, which would be a defect of this file */
function policy(name: string, spec: object): ParsedPolicy {
  const metadata = { name, namespace: 'bench' };
  const parsed = parseCiliumPolicy({ kind: 'CiliumNetworkPolicy', metadata, spec }, { cluster: 'default' });
  if (!parsed.ok) throw new Error(`input ${name} is not valid: ${JSON.stringify(parsed.error)}`);
  return parsed.value;
}

const SUBJECT = { matchLabels: { app: 'subject' } };

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

/** Egress rules, each one CIDR and one port; with `deny` each one deny of both as well. */
export function cidrPolicies(count: number, deny: boolean): ParsedPolicy[] {
  return numbers(count).map((i) =>
    policy(`p${i}`, {
      endpointSelector: SUBJECT,
      egress: [allowRule(i)],
      ...(deny ? { egressDeny: [denyRule(i)] } : {}),
    }),
  );
}

/** Rules over label `peer`, which identities may have or not. */
export function labelPolicies(count: number, direction: 'ingress' | 'egress'): ParsedPolicy[] {
  const side = direction === 'ingress' ? 'fromEndpoints' : 'toEndpoints';
  return numbers(count).map((i) =>
    policy(`p${i}`, {
      endpointSelector: SUBJECT,
      [direction]: [{ [side]: [{ matchLabels: { peer: '', [`rule${i % 100}`]: '' } }] }],
    }),
  );
}

/** Rules none of which selects the subject. */
export function strangerPolicies(count: number): ParsedPolicy[] {
  return numbers(count).map((i) =>
    policy(`p${i}`, {
      endpointSelector: { matchLabels: { app: `stranger${i}` } },
      ingress: [{ fromEndpoints: [{}] }],
    }),
  );
}

function podLabels(labels: Readonly<Record<string, string>>): Label[] {
  const all = {
    ...labels,
    'io.kubernetes.pod.namespace': 'bench',
    'io.cilium.k8s.policy.cluster': 'default',
  };
  return Object.entries(all).map(([key, value]) => ({ source: 'k8s', key, value }));
}

export const SUBJECT_IDENTITY = 1000;
export const SUBJECT_LABELS: readonly Label[] = podLabels({ app: 'subject' });

/** Identities of other pods; with `matching` every one has all that labelPolicies asks for. */
export function peerIdentities(count: number, matching: boolean): [number, Label[]][] {
  const wanted = Object.fromEntries(numbers(100).map((i) => [`rule${i - 1}`, '']));
  return numbers(count).map((i) => [
    SUBJECT_IDENTITY + i,
    podLabels({ name: `pod${i}`, ...(matching ? { peer: '', ...wanted } : {}) }),
  ]);
}
