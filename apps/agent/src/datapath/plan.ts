// SPDX-License-Identifier: Apache-2.0
// Configuration and node facts to the constants of the programs and the sizes of the maps: values only.
import { ConfigFlags, LAYOUT_HASH, type DatapathConfig } from '@cilium-ts/abi';
import { mappedPrefixLength, parsePrefix } from '@cilium-ts/net';
import type { AgentConfig } from '../config.ts';

export interface NodeFacts {
  readonly ipv4: string;
  readonly ipv6: string;
  readonly podCidrs: readonly string[];
  readonly nativeIfindex: number;
  /** Ports of masqueraded flows. */
  readonly natPorts: { readonly min: number; readonly max: number };
}

export interface PlanFeatures {
  readonly redirectPeer: boolean;
  readonly redirectNeigh: boolean;
  readonly socketLb: boolean;
}

export function planFlags(config: AgentConfig, node: NodeFacts, features: PlanFeatures): number {
  const lb = config.bool('kube-proxy-replacement');
  const wanted: readonly (readonly [boolean, number])[] = [
    [config.bool('enable-ipv4'), ConfigFlags.CONFIG_IPV4],
    [config.bool('enable-ipv6'), ConfigFlags.CONFIG_IPV6],
    [config.bool('enable-ipv4-masquerade') && node.ipv4 !== '', ConfigFlags.CONFIG_MASQUERADE_IPV4],
    [config.bool('enable-ipv6-masquerade') && node.ipv6 !== '', ConfigFlags.CONFIG_MASQUERADE_IPV6],
    [config.bool('enable-source-ip-verification'), ConfigFlags.CONFIG_SOURCE_IP_CHECK],
    [config.text('allow-localhost') !== 'policy', ConfigFlags.CONFIG_ALLOW_HOST],
    [config.bool('bpf-events-drop-enabled'), ConfigFlags.CONFIG_DROP_EVENTS],
    [config.bool('bpf-events-trace-enabled'), ConfigFlags.CONFIG_TRACE_EVENTS],
    [config.bool('bpf-events-policy-verdict-enabled'), ConfigFlags.CONFIG_VERDICT_EVENTS],
    [lb && features.socketLb, ConfigFlags.CONFIG_SOCKET_LB],
    [lb, ConfigFlags.CONFIG_PER_PACKET_LB],
    [features.redirectPeer, ConfigFlags.CONFIG_REDIRECT_PEER],
    [features.redirectNeigh, ConfigFlags.CONFIG_REDIRECT_NEIGH],
    [config.bool('prefilter'), ConfigFlags.CONFIG_PREFILTER],
    [config.bool('enable-host-firewall'), ConfigFlags.CONFIG_HOST_FIREWALL],
  ];
  return wanted.reduce((flags, [on, flag]) => (on ? flags | flag : flags), 0);
}

/** The native routing prefix of a family: configured, or the node's own pod CIDR. */
function nativePrefix(
  config: AgentConfig,
  node: NodeFacts,
  family: 4 | 6,
): { address: string; bits: number } {
  const configured = config.text(`ipv${family}-native-routing-cidr`);
  const candidates = configured === '' ? node.podCidrs : [configured];
  for (const text of candidates) {
    const prefix = parsePrefix(text);
    if (prefix?.family === family)
      return { address: prefix.address, bits: mappedPrefixLength(family, prefix.bits) };
  }
  // Without any: only the all-zero address counts as native, so everything is masqueraded.
  return { address: '', bits: 128 };
}

export function planDatapath(config: AgentConfig, node: NodeFacts, features: PlanFeatures): DatapathConfig {
  const seconds = (key: string): number => Math.max(1, Math.round(config.durationMs(key) / 1000));
  const native4 = nativePrefix(config, node, 4);
  const native6 = nativePrefix(config, node, 6);
  return {
    flags: planFlags(config, node, features),
    layoutHash: LAYOUT_HASH,
    nodeIpv4: node.ipv4,
    nodeIpv6: node.ipv6,
    nativeCidrIpv4: native4.address,
    nativeCidrIpv6: native6.address,
    loopbackIpv4: config.text('ipv4-service-loopback-address'),
    loopbackIpv6: config.text('ipv6-service-loopback-address'),
    nativeCidrIpv4Bits: native4.bits,
    nativeCidrIpv6Bits: native6.bits,
    ctTcp: seconds('bpf-ct-timeout-regular-tcp'),
    ctTcpSyn: seconds('bpf-ct-timeout-regular-tcp-syn'),
    ctTcpClosing: seconds('bpf-ct-timeout-regular-tcp-fin'),
    ctAny: seconds('bpf-ct-timeout-regular-any'),
    traceInterval: Math.round(config.durationMs('monitor-aggregation-interval') / 1000),
    natPortMin: node.natPorts.min,
    natPortMax: node.natPorts.max,
    nativeIfindex: node.nativeIfindex,
  };
}

/** Entries by map name. The event ring must be a power of two of pages. */
export function planMapSizes(config: AgentConfig): Record<string, number> {
  const ring = 2 ** Math.floor(Math.log2(config.number('bpf-events-ring-bytes')));
  const tcp = config.number('bpf-ct-global-tcp-max');
  return {
    cilium_ct_global: tcp,
    cilium_ct_half_open: Math.max(1024, Math.min(16_384, Math.floor(tcp / 8))),
    cilium_ct_any_global: config.number('bpf-ct-global-any-max'),
    cilium_frag: config.number('bpf-fragments-map-max'),
    cilium_snat: config.number('bpf-nat-global-max'),
    cilium_lb_services: config.number('bpf-lb-map-max'),
    cilium_lb_reverse_nat: config.number('bpf-lb-map-max'),
    cilium_lb_affinity: config.number('bpf-lb-map-max'),
    cilium_events: ring,
  };
}
