// SPDX-License-Identifier: Apache-2.0
// A flow as the browser wants it: the opener first, words instead of numbers.
import {
  decidedByText,
  hostPort,
  reservedIdentityName,
  sidesOf,
  timestampMs,
  typeText,
  verdictText,
} from '@cilium-ts/flow';
import { verdictToJSON, type Endpoint, type Flow } from '@cilium-ts/proto';

export interface EndView {
  /** Of the card: equal for pods of one workload. */
  readonly card: string;
  readonly namespace: string;
  /** `ns/pod:80` or an address. */
  readonly text: string;
  readonly labels: readonly string[];
}

export interface FlowView {
  readonly uuid: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly node: string;
  readonly source: EndView;
  readonly destination: EndView;
  /** Of the destination, 0 where there is none. */
  readonly port: number;
  readonly protocol: string;
  readonly type: string;
  readonly verdict: string;
  readonly verdictText: string;
  readonly summary: string;
  /** `CNP ns/name egress[0] (spec line 3)`, empty where no policy is named. */
  readonly decidedBy: string;
}

const NAMES = { translate: true, policyNames: true } as const;

function cardOf(endpoint: Endpoint | undefined, address: string): string {
  const identity = endpoint?.identity ?? 0;
  const reserved = reservedIdentityName(identity);
  if (reserved) return reserved;
  const [workload] = endpoint?.workloads ?? [];
  if (endpoint && endpoint.namespace !== '')
    return `${endpoint.namespace}/${workload?.name ?? endpoint.podName}`;
  return identity > 0 ? `ID:${identity}` : address;
}

export function flowView(flow: Flow): FlowView {
  const sides = sidesOf(flow, NAMES);
  const end = (endpoint: Endpoint | undefined, side: (typeof sides)['source'], address: string): EndView => ({
    card: cardOf(endpoint, address),
    namespace: endpoint?.namespace ?? '',
    text: hostPort(side),
    labels: endpoint?.labels ?? [],
  });
  const source = end(flow.source, sides.source, flow.IP?.source ?? '');
  const destination = end(flow.destination, sides.destination, flow.IP?.destination ?? '');
  const isReply = flow.isReply === true;
  return {
    uuid: flow.uuid,
    time: timestampMs(flow.time) ?? 0,
    node: flow.nodeName,
    source: isReply ? destination : source,
    destination: isReply ? source : destination,
    port: isReply ? sides.source.port : sides.destination.port,
    protocol: flow.l4?.protocol?.$case ?? '',
    type: typeText(flow),
    verdict: verdictToJSON(flow.verdict),
    verdictText: verdictText(flow),
    summary: flow.Summary,
    decidedBy: decidedByText(flow, NAMES).replace(/^ BY /, ''),
  };
}
