// SPDX-License-Identifier: Apache-2.0
// The words of a flow, the same for every output format.
import { reservedIdentityName } from './reserved.ts';
import { formatAddressPort } from '@cilium-ts/net';
import {
  trafficDirectionToJSON,
  Verdict,
  verdictToJSON,
  type Endpoint,
  type Flow,
  type Service,
} from '@cilium-ts/proto';
import { dropText } from './drop-text.ts';
import { portsOf } from './layer4.ts';
import { deniedBySuffix, formatPolicy } from './policy-names.ts';

export interface NameOptions {
  /** Pods and services instead of addresses; true unless asked otherwise. */
  readonly translate: boolean;
  /** Names the policies that allowed, too. */
  readonly policyNames: boolean;
}

export const EVENT = {
  DROP: 1,
  DEBUG: 2,
  CAPTURE: 3,
  TRACE: 4,
  POLICY_VERDICT: 5,
  SOCK: 7,
  L7: 129,
  AGENT: 130,
} as const;

const POINTS: Readonly<Record<number, string>> = {
  0: 'to-endpoint',
  1: 'to-proxy',
  2: 'to-host',
  3: 'to-stack',
  4: 'to-overlay',
  5: 'from-endpoint',
  6: 'from-proxy',
  7: 'from-host',
  8: 'from-stack',
  9: 'from-overlay',
  10: 'from-network',
  11: 'to-network',
  12: 'from-crypto',
  13: 'to-crypto',
};

export const OBSERVATION_POINTS = POINTS;

const MATCHES = ['none', 'L3-Only', 'L3-L4', 'L4-Only', 'all', 'L3-Proto', 'Proto-Only'];

export function typeText(flow: Flow): string {
  const kind = flow.eventType;
  switch (kind?.type) {
    case EVENT.TRACE:
      return POINTS[kind.subType] ?? `${kind.subType}`;
    case EVENT.DROP:
      return dropText(flow.dropReasonDesc || flow.dropReason);
    case EVENT.POLICY_VERDICT:
      return `policy-verdict:${MATCHES[flow.policyMatchType] ?? flow.policyMatchType} ${trafficDirectionToJSON(flow.trafficDirection)}`;
    default:
      return 'UNKNOWN';
  }
}

const VERDICT_WORDS: Readonly<Record<number, string>> = {
  [Verdict.FORWARDED]: 'ALLOWED',
  [Verdict.REDIRECTED]: 'ALLOWED',
  [Verdict.DROPPED]: 'DENIED',
  [Verdict.ERROR]: 'DENIED',
  [Verdict.AUDIT]: 'AUDITED',
};

export function verdictText(flow: Flow): string {
  const word = flow.eventType?.type === EVENT.POLICY_VERDICT ? VERDICT_WORDS[flow.verdict] : undefined;
  return word ?? verdictToJSON(flow.verdict);
}

/** Who decided: denials always, allowances where asked. */
export function decidedByText(flow: Flow, options: NameOptions): string {
  const denied = deniedBySuffix(flow);
  if (denied !== '' || !options.policyNames) return denied;
  const allowed = [...flow.egressAllowedBy, ...flow.ingressAllowedBy];
  return allowed.length === 0 ? '' : ` BY ${allowed.map(formatPolicy).join(', ')}`;
}

export interface Side {
  readonly host: string;
  readonly port: number;
  readonly identity: string;
}

export function sidesOf(
  flow: Flow,
  options: NameOptions,
): { readonly source: Side; readonly destination: Side } {
  const ports = portsOf(flow.l4);
  const from = { endpoint: flow.source, service: flow.sourceService, names: flow.sourceNames };
  const to = { endpoint: flow.destination, service: flow.destinationService, names: flow.destinationNames };
  return {
    source: side(from, flow.IP?.source || flow.ethernet?.source || '', ports.source, options),
    destination: side(
      to,
      flow.IP?.destination || flow.ethernet?.destination || '',
      ports.destination,
      options,
    ),
  };
}

interface Known {
  readonly endpoint: Endpoint | undefined;
  readonly service: Service | undefined;
  readonly names: readonly string[];
}

function side(known: Known, address: string, port: number, options: NameOptions): Side {
  const name = options.translate ? nameOf(known) : '';
  return { host: name === '' ? address : name, port, identity: identityText(known.endpoint) };
}

function nameOf({ endpoint, service, names }: Known): string {
  if (endpoint && endpoint.podName !== '') return `${endpoint.namespace}/${endpoint.podName}`;
  if (service && service.name !== '') return `${service.namespace}/${service.name}`;
  return names.join(',');
}

export function identityText(endpoint: Endpoint | undefined): string {
  const identity = endpoint?.identity ?? 0;
  if (identity === 0) return '(unknown)';
  const reserved = reservedIdentityName(identity);
  return reserved ? `(${reserved})` : `(ID:${identity})`;
}

/** `ns/pod:80`; an IPv6 address with a port gets brackets. */
export function hostPort({ host, port }: Side): string {
  return port === 0 ? host : formatAddressPort(host, port);
}

/** What a flow carries came from elsewhere: no control sequence of it may reach a terminal. */
export function safeText(text: string): string {
  return text.replace(/\x1b/g, '^[').replace(/\r/g, '\\r');
}
